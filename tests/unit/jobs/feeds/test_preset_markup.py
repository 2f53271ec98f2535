"""HTML is reduced to its text."""

import time

import pytest

from jobs.feeds.markup import text_of_html

TEXTS = {
    "no tags": "no tags",
    "1 < 2 and 3 > 2, I <3 you": "1 < 2 and 3 > 2, I <3 you",
    "<p>one</p><p>two<br>three<br />four</p>": "one  two three four",
    "un<b>usu</b>al": "unusual",
    '<a href="https://a.example" title="a > b">link</a>': "link",
    "<a title='it\"s > that'>x</a>": "x",
    "<P>upper</P><BR/>case": "upper  case",
    "&lt;p&gt; is no tag": "&lt;p&gt; is no tag",
    "<pre>kept</pre> <precise>also</precise>": "kept  also",
    "an open <a href=": "an open <a href=",
    "<ul><li>first</li><li>second</li></ul>": "first  second",
}


@pytest.mark.parametrize("html", TEXTS, ids=TEXTS.values())
def test_tags_are_removed_and_separate_words(html: str) -> None:
    assert text_of_html(html).split() == TEXTS[html].split()


@pytest.mark.parametrize("part", ["<", "<a ", '<a"', "<a'\"", "<a \"<a '", "</", "<p "])
def test_a_hostile_text_takes_linear_time(part: str) -> None:
    start = time.process_time()
    text_of_html(part * (262_144 // len(part)))
    assert time.process_time() - start < 1
