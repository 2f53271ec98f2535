"""The cleaning rules: examples for each rule, properties of every text, and very long texts."""

import html
import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.cleaning import clean
from tests.support.examples import examples

URLS = {
    "alone": ("https://t.co/abcDEF1234", ""),
    "trailing comma": ("see https://a.b/c, ok", "see , ok"),
    "trailing run": ("is it https://a.b/c?!...", "is it ?!..."),
    "trailing ellipsis": ("https://a.b/c\u2026", "\u2026"),
    "punctuation inside": ("x https://a.b/c,d;e:f.g!h'i*j?k y", "x y"),
    "in parentheses": ("(https://a.b)", "()"),
    "closing parenthesis only": ("(see https://a.b/c)", "(see )"),
    "closing parenthesis and text": ("(see https://a.b/c)and", "(see )and"),
    "balanced parentheses": ("see https://en.wikipedia.org/wiki/X_(y) now", "see now"),
    "balanced in parentheses": ("(https://en.wikipedia.org/wiki/X_(y))", "()"),
    "in square brackets": ("[https://a.b]", "[]"),
    "balanced square brackets": ("https://a.b/?x[]=1&y[2]=3", ""),
    "emphasis": ("**https://a.b/c** ok", "**** ok"),
    "markdown": ("[text](https://a.b/c) on", "[text]() on"),
    "in double quotes": ('"https://a.b/c" ok', '"" ok'),
    "in single quotes": ("'https://a.b/c' ok", "'' ok"),
    "apostrophe inside": ("https://a.b/Hobson's_choice ok", "ok"),
    "in curly quotes": ("\u201chttps://a.b/c\u201d", "\u201c\u201d"),
    "in encoded angle brackets": ("&lt;https://a.b/c&gt;", "<>"),
    "full-width comma": ("https://a.b/c\uff0cok", "\uff0cok"),
    "CJK full stop": ("https://a.b/c\u3002ok", "\u3002ok"),
    "CJK brackets": ("\u300chttps://a.b/c\u300d", "\u300c\u300d"),
    "Japanese behind a path": ("https://t.co/abc\u3053\u308c\u3092\u898b\u3066", "\u3053\u308c\u3092\u898b\u3066"),
    "Japanese behind a host": ("https://a.com\u3092\u898b\u3066", "\u3092\u898b\u3066"),
    "Thai behind a path": ("https://t.co/abc\u0e14\u0e39", "\u0e14\u0e39"),
    "Korean particle": ("https://t.co/abc\ub97c", "\ub97c"),
    "emoji behind a path": ("https://t.co/abc\U0001f602", "\U0001f602"),
    "IDN": ("https://\u65e5\u672c.jp/x ok", "ok"),
    "IDN to the last label": ("https://www.\u4f8b\u3048.\u30c6\u30b9\u30c8/x ok", "ok"),
    "IDN and Japanese behind it": ("https://\u65e5\u672c.jp\u3092\u898b\u3066", "\u3092\u898b\u3066"),
    "Latin and Cyrillic letters": ("https://m\xfcller.de/stra\xdfe https://\u043f\u0440.\u0440\u0444/\u044f ok", "ok"),
    "user, port, query, fragment": ("https://me:pw@a.b:8443/c;v=1?d=%20e&f=g#h/#i ok", "ok"),
    "encoded query": ("https://a.b/?c=1&amp;copy=2&amp;amp;d=3 ok", "ok"),
    "IPv4 host": ("http://127.0.0.1:80 ok", "ok"),
    "IPv6 host": ("http://[::1]/x ok", "ok"),
    "IPv6 host in parentheses": ("(http://[2001:db8::1]:80/x)", "()"),
    "any case": ("HTTPS://A.B hTtP://c.d ok", "ok"),
    "several": ("a https://a.b b http://c.d/e c", "a b c"),
    "glued": ("https://a.b/chttp://c.d/e ok", "ok"),
    "glued by a comma": ("https://a.b/c,https://c.d/e ok", ", ok"),
    "glued by a bracket": ("https://a.b/c)https://c.d/e(", ")("),
    "behind a letter": ("xhttps://a.b/c y", "x y"),
    "bare scheme": ("http:// and https://, too", "and , too"),
    "bare scheme before Japanese": ("https://\u3092\u4ed8\u3051\u308b", "\u3092\u4ed8\u3051\u308b"),
    "other schemes": ("ftp://a.b mailto:c@d.e", "ftp://a.b mailto:c@d.e"),
    "line end": ("https://a.b/c\nok", "ok"),
    "www": ("see www.a.b/c(d), WWW.E.F or Www.g.h.", "see , or ."),
    "www in upper case": ("WWW.A.B ok", "ok"),
    "www in mixed case": ("wWw.a.b wwW.c.d ok", "ok"),
    "www in brackets": ("(www.a.b)", "()"),
    "www with an IDN host": ("www.\u65e5\u672c.jp ok", "ok"),
    "www behind Japanese": ("\u898b\u3066www.a.jp", "\u898b\u3066"),
    "www inside a word": ("awww.cool \xe4www.cool", "awww.cool \xe4www.cool"),
    "www behind a combining mark": ("a\u0308www.cool", "a\u0308www.cool"),
    "www without a host": ("www. www.. www.\u3059\u3054\u3044", "www. www.. www.\u3059\u3054\u3044"),
}

HASHES = {
    "hashtag": ("#Covid19 and #health", "Covid19 and health"),
    "anywhere": ("C# a#b ##c # #", "C ab c"),
    "full-width": ("\uff03Covid19", "Covid19"),
    "look-alikes": ("\ufe5fa \u266fb", "\ufe5fa \u266fb"),
    "hides a marker": ("#RT: R#T: x", "x"),
    "hides a URL": ("ht#tp://a.b w#ww.c.d x", "x"),
}

MARKERS = {
    "first": ("RT: @user hello", "@user hello"),
    "glued": ("RT:@user", "@user"),
    "repeated": ("RT:RT: x", "x"),
    "quoted": ('"RT: x" (RT: y)', '" x" ( y)'),
    "middle": ("so RT: x", "so x"),
    "ALERT and PORT": ("ALERT: PORT: x", "ALERT: PORT: x"),
    "Unicode words": ("\xc4RT: \u041fRT: 1RT: _RT:", "\xc4RT: \u041fRT: 1RT: _RT:"),
    "combining mark": ("A\u0308RT: x", "A\u0308RT: x"),
    "behind Japanese": ("\u62e1\u6563RT:@user", "\u62e1\u6563@user"),
    "lower case": ("RT: rt: Rt: x", "rt: Rt: x"),
    "no colon": ("RT @user", "RT @user"),
    "hides a URL": ("http:RT://a.b x", "x"),
}

REFERENCES = {
    "named": ("Tom &amp; Jerry &lt;3 &quot;x&quot;", 'Tom & Jerry <3 "x"'),
    "numeric": ("it&#39;s &#x1F602; &#X41", "it's \U0001f602 A"),
    "double": ("Tom &amp;amp; &amp;lt;3 &amp;#39;", "Tom & <3 '"),
    "double by number": ("&#38;#39; &#x26;#39; &#0038;#39; &AMP;#39;", "' ' ' '"),
    "number that begins like &": ("&#381; &#x26f9; &#x26F9;", "\u017d \u26f9 \u26f9"),
    "many times": ("&" + "amp;" * 50 + "lt;", "<"),
    "no semicolon": ("&ampampamp; &copy2020", "& \xa92020"),
    "no reference": ("AT&T & &unknown; &", "AT&T & &unknown; &"),
    "two code points": ("&nGt;", "\u226b\u20d2"),
    "white space": ("a&nbsp;&Tab;&NewLine;b&#13;", "a b"),
    "hash": ("&#35;a &num;b &#xff03;c", "a b c"),
    "control": ("a&#1;b&#x81;c&#0;", "abc\ufffd"),
    "surrogate": ("&#xd800;", "\ufffd"),
    "hides a URL": ("&#x68;ttp://a.b x", "x"),
    "hides a marker": ("R&#84;: x &RT:amp; y", "x & y"),
    "spelt by a reference": ("&am&#112; &nu&num;m; x", "& x"),
    "too many digits for int()": ("a&#" + "1" * 5000 + ";b &amp;", "a\ufffdb &"),
}

CHARACTERS = {
    "empty": ("", ""),
    "only white space": (" \n\u3000 ", ""),
    "plain": ("Nothing to clean here: 10.5% of w. and W.", "Nothing to clean here: 10.5% of w. and W."),
    "white space": ("\ta \r\n b\xa0c\u2028d\u2029e\x85f\u3000g\x1fh \x0b", "a b c d e f g h"),
    "controls": ("a\x00b\x07\x1b\x7f\x80\x9fc", "abc"),
    "control in a marker": ("R\x00T: x", "x"),
    "control in a URL": ("ht\x07tp://a\x00.b x", "x"),
    "byte order mark": ("\ufeffa\ufeffb", "ab"),
    "lone surrogates": ("a\ud800b\udc00\ud800", "a\ufffdb\ufffd\ufffd"),
    "surrogate pair": ("a\ud83d\ude02b", "a\U0001f602b"),
    "joined emoji": (
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    ),
    "bidi marks": ("\u202aa\u202c\u200f", "\u202aa\u202c\u200f"),
}

TABLES = {"url": URLS, "hash": HASHES, "marker": MARKERS, "reference": REFERENCES, "character": CHARACTERS}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [pytest.param(*case, id=f"{rule}: {name}") for rule, cases in TABLES.items() for name, case in cases.items()],
)
def test_example(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("behind", [*'<>"\\^`{|}\xab\xbb', *"\u0e14\u0ea5\u1019\u1112\u1780\u2019\u3042\uac00\uff61"])
def test_a_character_that_ends_a_url_wherever_it_stands(behind: str) -> None:
    assert clean(f"see https://a.b/c{behind}d") == f"see {behind}d"


@pytest.mark.parametrize("behind", [*".,:;!?'*", *"\u0589\u060c\u061b\u061f\u06d4\u0964\u0965"])
def test_punctuation_stays_behind_a_url_and_goes_inside_it(behind: str) -> None:
    assert clean(f"see https://a.b/c{behind}") == f"see {behind}"
    assert clean(f"see https://a.b/c{behind}d") == "see"


def test_all_rules_at_once() -> None:
    tweet = "RT: @a Tom &amp; #Jerry:\n  see https://t.co/x1, (www.b.c/d_(e)) &lt;3 \U0001f602\x00 "
    assert clean(tweet) == "@a Tom & Jerry: see , () <3 \U0001f602"


ANY_CHARACTER = st.characters(exclude_categories=())  # surrogates too, which st.text() leaves out
PIECES = (
    "& ; # RT: R T: R#T: http https :// http:// ht#tp:// &#x68;ttp:// www. w ww. .x a.b / x T \u65e5 \xe9 \u0308 "
    "&amp; &amp amp; &am p; &# 35; &#35; &#38; &#x26; 38; x23; &num; &nu num; m; &semi; &fjlig; &lt; &Tab; &nbsp; "
    "&#1; &#xd800; ( ) [ ] < > \" ' , . : ... ! ? * _ - @ \u2026 \uff03 \uff0c \u3002"
)
INVISIBLE_PIECES = " \n\xa0\u2028\x00\x1f\x85\ufeff\u200d\ud83d\ude02"
FRAGMENTS = st.sampled_from([*PIECES.split(), *INVISIBLE_PIECES])
NASTY = st.lists(FRAGMENTS | ANY_CHARACTER, max_size=30).map("".join)
WRAPPERS = "&nu|m; &|lig; &sem|i; &#5|7; R&|num;T: R|T: ht|tp://x www|.x http:|//x, RThttp://|:"


@st.composite
def nested(draw: st.DrawFn) -> str:
    text: str = draw(FRAGMENTS)
    for wrapper in draw(st.lists(st.sampled_from(WRAPPERS.split()), max_size=12)):
        text = wrapper.replace("|", text)
    return text


@settings(max_examples=examples(400), deadline=None)
@given(NASTY | nested() | st.text(ANY_CHARACTER))
@example("&nu" * 9 + "&num;" + "m;" * 9)
@example("R&" * 9 + "RT:" + "num;T:" * 9 + " www.a.b")
@example("wwwhttp://a/.\u65e5.jp")
@example("RThttp://a: x")
def test_whatever_comes_in_what_comes_out_is_clean(text: str) -> None:
    cleaned = clean(text)

    assert clean(cleaned) == cleaned
    assert len(cleaned) <= len(text)
    assert cleaned == " ".join(cleaned.split())
    assert cleaned == html.unescape(cleaned)
    assert not {"Cc", "Cs"} & {unicodedata.category(character) for character in cleaned}
    assert not set("#\uff03\ufeff") & set(cleaned)
    assert not re.search(r"https?://", cleaned, re.IGNORECASE)
    assert not re.search(r"(?<![\w\u0300-\u036f])(RT:|(?i:www\.[a-z0-9]))", cleaned)


@pytest.mark.parametrize("depth", range(9))
@pytest.mark.parametrize("token", ["ht|tp://a.b", "w|ww.a.b", "R|T:", "http:R|T://a.b", "&am|p;lt;"])
def test_a_token_is_found_however_deep_its_disguise(token: str, depth: int) -> None:
    cleaned = clean(token.replace("|", "&nu" * depth + "&num;" + "m;" * depth))

    assert clean(cleaned) == cleaned
    assert not re.search(r"https?://|www[.]|RT:|&", cleaned)


WORD = st.text(st.characters(categories=["L", "Nd", "So"]), min_size=1, max_size=8)
WORDS = st.lists(WORD, min_size=1, max_size=5).map(" ".join)


@settings(max_examples=examples(200), deadline=None)
@given(WORDS)
def test_words_are_left_alone(words: str) -> None:
    assert clean(words) == words


def _urls() -> st.SearchStrategy[str]:
    starts = st.sampled_from(["http://", "HTTPS://", "www."])
    label = st.text("abcxyz019-", min_size=1, max_size=8).filter(lambda text: text.strip("-") == text)
    host = st.lists(label, min_size=2, max_size=4).map(".".join)
    port = st.sampled_from(["", ":8", ":8080"])
    segment = st.text("aZ9-_~.,;:!'*%@&=+$", max_size=8).map("/{}x".format)
    path = st.lists(segment | st.sampled_from(["/y_(z)", "/y_(z,1.)", "/[y]", "/"]), max_size=3).map("".join)
    ending = st.sampled_from(["", "?a=b&c=%20", "?a[]=(b)", "#c", "#/c?d"])
    return st.tuples(starts, host, port, path, ending).map("".join)


@settings(max_examples=examples(300), deadline=None)
@given(st.tuples(WORDS, WORDS), _urls(), st.sampled_from(["", ",", ").", "?!", "\u3002", "\u2026\u201d"]))
def test_a_url_goes_whole_and_nothing_goes_with_it(words: tuple[str, str], url: str, behind: str) -> None:
    before, after = words
    assert clean(f"{before} {url}{behind} {after}") == " ".join([before, *behind.split(), after])


def _filled(piece: str) -> str:
    return piece * (1_000_000 // len(piece))


def _nested(before: str, middle: str, behind: str) -> str:
    depth = 1_000_000 // len(before + behind)
    return before * depth + middle + behind * depth


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=name)
        for name, text in {
            "markers": _filled("RT:"),
            "markers in markers": _nested("R#", "", "T:"),
            "markers in references": _nested("R&", "RT:", "num;T:"),
            "references": _filled("&amp;"),
            "reference encoded again and again": "&" + _filled("amp;"),
            "the same without semicolons": "&" + _filled("amp") + ";",
            "the same by number": "&" + _filled("#38;"),
            "references that vanish in references": _nested("&nu", "&num;", "m;"),
            "references that spell references": _nested("&#5", "9", "7;"),
            "references that spell a semicolon": _nested("&sem", "&semi;", "i;"),
            "unknown references": _filled("&" + "a" * 32),
            "digits": "&#" + _filled("1"),
            "zeros": "&#" + _filled("0") + "38;",
            "parentheses": _filled("("),
            "parentheses in a URL": "http://x" + _filled("("),
            "URLs in open parentheses": _filled("http://x("),
            "URLs in one open parenthesis": "http://x(" + _filled("http://x,"),
            "schemes": _filled("http://"),
            "schemes in schemes": _nested("ht", "", "tp://"),
            "pairs in a URL": "http://x" + _filled("(a)"),
            "punctuation in a URL": "http://x" + _filled(",a"),
            "punctuation behind a URL": "http://x" + _filled("."),
            "labels": "http://" + _filled("\u65e5."),
            "one label": "www." + _filled("\u65e5"),
            "www": _filled("www."),
            "white space": _filled(" \xa0"),
            "controls": _filled("\x00"),
            "surrogates": _filled("\ud800"),
        }.items()
    ],
)
def test_a_megabyte_of_hostile_text_takes_linear_time_and_ends_in_a_fixpoint(text: str) -> None:
    started = time.process_time()
    cleaned = clean(text)
    assert time.process_time() - started < 5  # quadratic time would be minutes
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("again", ["amp;", "#38;", "amp"])
def test_a_reference_encoded_any_number_of_times_is_still_that_reference(again: str) -> None:
    assert clean("&" + _filled(again) + "; x") == clean(f"&{again}; x")
