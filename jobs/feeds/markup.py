"""Reduces HTML to its text. No I/O."""

import re

# Tags that separate words. Any other tag may stand within a word, as in `<b>un</b>usual`.
SEPARATING = "br|p|div|li|ul|ol|dl|dt|dd|pre|blockquote|hr|h[1-6]|tr|td|th|table"
# A quoted value may hold `>`. An unquoted part ends at `<`, so that a hostile text of many `<` takes linear time.
_ATTRIBUTES = r"""(?:"[^"]*"|'[^']*'|[^"'<>])*+>"""
_SEPARATOR = re.compile(rf"</?(?:{SEPARATING})(?![A-Za-z0-9-]){_ATTRIBUTES}", re.IGNORECASE)
_TAG = re.compile(rf"</?[A-Za-z]{_ATTRIBUTES}")


def text_of_html(html: str) -> str:
    """The text without tags. Character references stay: `jobs.cleaning` decodes them, and `&lt;b&gt;` is no tag."""
    if "<" not in html:
        return html
    return _TAG.sub("", _SEPARATOR.sub(" ", html)).strip()
