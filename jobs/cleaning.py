"""What a post's text looks like once links, hash signs, retweet markers and encoding debris are gone.

Sources of the rules: named and numeric character references are WHATWG's, as `html.unescape` implements
them; the characters of a URL are RFC 3986's, with the letters of RFC 3987 where a script puts spaces
between words; the two hash signs are the ones that Twitter reads as the start of a hashtag.
"""

import html
import re

# Everything from U+2000 up (typographic and full-width punctuation, CJK, Hangul, emoji) and Thai, Lao, Myanmar
# and Khmer below it: people write these straight behind a link, so they end one and start a new word.
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2000-\U0010ffff"
_PUNCTUATION = r".,:;!?'*\u0589\u060c\u061b\u061f\u06d4\u0964\u0965"  # ends a sentence, or sits inside a URL
_NEVER = rf"\s<>\"\\^`{{|}}\xab\xbb()\[\]{_SPACELESS}"  # brackets are here because they only count in pairs
_SCHEME = r"[hH][tT][tT][pP][sS]?://"
_REST = (
    rf"(?:(?:[\w-]+\.(?=\w))+(?:(?=[{_SPACELESS}])\w[\w-]*)?)?"  # a host may be spelt in any script (IDN)
    rf"(?:[^{_NEVER}{_PUNCTUATION}]+"
    rf"|[{_PUNCTUATION}]+(?=[^{_NEVER}{_PUNCTUATION}])(?!{_SCHEME})"
    rf"|\([^{_NEVER}]*\)|\[[^{_NEVER}]*\])*"
)


def _starting_a_word(token: str) -> str:
    """Look back only once the token is found: a pattern that begins with its letters is searched fastest."""
    return rf"{token}(?<!(?![{_SPACELESS}])[\w\u0300-\u036f]{token})"


_HTTP = re.compile(_SCHEME + _REST)
_WWW = re.compile(_starting_a_word(r"[wW]{3}\.") + rf"(?=[^\W{_SPACELESS}]|[\w-]+\.\w)" + _REST)
_RT = re.compile(_starting_a_word("RT:"))

_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38(?![0-9])|#[xX]0*26(?![0-9a-fA-F]));?)+")
_HUGE_NUMBER = re.compile(r"&#[0-9]{640,};?")  # 640 is the lowest limit that int() can be given
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
_PASSES = 4
_JOINTS = re.compile(r"[&:.]")


def clean(text: str) -> str:
    """Strip a post down to its words. In this order:

    1. Character references are decoded, however often they were encoded. This comes first because a `#` or
       `;` of theirs is neither a hash sign nor part of a URL: `it&#39;s`, `&lt;https://a.b&gt;`.
    2. Control characters and U+FEFF are dropped, but those that are white space become a space; other format
       characters (joiners, bidi marks) stay. Surrogates that form no pair become U+FFFD.
    3. URLs go: `http://` and `https://` in any case and anywhere, even bare; `www.` in any case where a word
       starts and a host follows. Trailing punctuation and unpaired brackets stay, as does text in a script
       without spaces; a path in such a script therefore stays too, a host does not.
    4. `#` and U+FF03 go, the word behind them stays; look-alikes (U+FE5F, U+266F) are no hash signs.
    5. `RT:` goes where a word starts, in upper case only: `ALERT:` and `rt:` stay.
    6. White space is collapsed to single spaces and stripped at both ends.

    A removal may join its neighbours into something to remove, so this repeats until nothing changes:
    `clean(clean(text)) == clean(text)` for every text. A text that takes more rounds than any real one, because
    tokens are nested in tokens (`&nu&nu&nu&nu&num;m;m;m;m;`), has its `&`, `:` and `.` replaced by spaces.
    """
    text = _without_debris(text)
    for _ in range(_PASSES):
        cleaned = _clean_once(text)
        if cleaned == text:
            return text
        text = cleaned
    # Peeling one level a pass would be quadratic. No reference, URL or marker exists without one of its joints,
    # and the last pass left no `#` or debris, so this is a fixpoint whatever the text was.
    return " ".join(_JOINTS.sub(" ", text).split())


def _clean_once(text: str) -> str:
    # The `in` tests are the fast path: each costs a fraction of the search that it saves.
    if "&" in text:
        text = _without_debris(_decode(text))
    if "://" in text:
        text = _HTTP.sub("", text)
    if "w." in text or "W." in text:
        text = _WWW.sub("", text)
    text = text.replace("#", "").replace("\uff03", "")
    if "RT:" in text:
        text = _RT.sub("", text)
    text = text.strip()
    if "  " in text:
        text = " ".join(text.split())
    return text


def _decode(text: str) -> str:
    text = _AMPERSAND.sub("&", text)  # a chain such as `&amp;amp;lt;` ends in one step however long it is
    try:
        return html.unescape(text)
    except ValueError:  # from int(), which refuses thousands of digits, be they all zeros
        return html.unescape(_HUGE_NUMBER.sub("\ufffd", text))


def _without_debris(text: str) -> str:
    if text.isprintable():  # then the only white space is U+0020
        return text
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return " ".join(_INVISIBLE.sub("", text).split())
