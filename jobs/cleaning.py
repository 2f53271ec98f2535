"""Removes links, hash signs, retweet markers and encoding debris from a post's text.

Sources of the rules:
Named and numeric character references are those of WHATWG, as `html.unescape` implements them.
The characters of a URL are those of RFC 3986, with the letters of RFC 3987 in scripts that put spaces between words.
The two hash signs are those that Twitter reads as the start of a hashtag.
"""

import html
import re

# Everything from U+2000 up (typographic and full-width punctuation, CJK, Hangul, emoji), and Thai, Lao, Myanmar and
# Khmer below it. People write these directly after a link, so they end a link and start a new word.
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2000-\U0010ffff"
_PUNCTUATION = r".,:;!?'*\u0589\u060c\u061b\u061f\u06d4\u0964\u0965"  # ends a sentence, or is part of a URL
_NEVER = rf"\s<>\"\\^`{{|}}\xab\xbb()\[\]{_SPACELESS}"  # includes brackets, which are part of a URL only in pairs
_SCHEME = r"[hH][tT][tT][pP][sS]?://"
_REST = (
    rf"(?:(?:[\w-]+\.(?=\w))+(?:(?=[{_SPACELESS}])\w[\w-]*)?)?"  # a host may be in any script (IDN)
    rf"(?:[^{_NEVER}{_PUNCTUATION}]+"
    rf"|[{_PUNCTUATION}]+(?=[^{_NEVER}{_PUNCTUATION}])(?!{_SCHEME})"
    rf"|\([^{_NEVER}]*\)|\[[^{_NEVER}]*\])*"
)


def _starting_a_word(token: str) -> str:
    """A pattern for a token that starts a word. It begins with letters, which is fastest: the look-behind is last."""
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
    """Reduce a post to its words, in this order:

    1. Character references are decoded, even if they were encoded several times. This is first because their `#` and
       `;` are neither hash signs nor parts of a URL: `it&#39;s`, `&lt;https://a.b&gt;`.
    2. Control characters and U+FEFF are removed; those that are white space become a space. Other format characters
       (joiners, bidi marks) stay. Unpaired surrogates become U+FFFD.
    3. URLs are removed: `http://` and `https://` in upper or lower case and anywhere, even bare; `www.` in upper or
       lower case at the start of a word and before a host. Trailing punctuation and unpaired brackets stay. Text in a
       script without spaces stays, too: so a path in such a script stays, but a host does not.
    4. `#` and U+FF03 are removed, the word behind them stays. Look-alikes (U+FE5F, U+266F) are not hash signs.
    5. `RT:` is removed at the start of a word, in upper case only: `ALERT:` and `rt:` stay.
    6. White space is collapsed to single spaces and stripped at both ends.

    A removal may join its neighbours into something that is to be removed. So this repeats until nothing changes:
    `clean(clean(text)) == clean(text)` for every text. Tokens that are nested in tokens
    (`&nu&nu&nu&nu&num;m;m;m;m;`) take more rounds than any real text: then `&`, `:` and `.` are replaced by spaces.
    """
    text = _without_debris(text)
    for _ in range(_PASSES):
        cleaned = _clean_once(text)
        if cleaned == text:
            return text
        text = cleaned
    # Removing one level per pass would be quadratic. Each reference, URL and marker contains one of these characters,
    # and the last pass left no `#` and no debris. So the result is a fixpoint for every text.
    return " ".join(_JOINTS.sub(" ", text).split())


def _clean_once(text: str) -> str:
    # The `in` tests are the fast path: each takes a fraction of the time of the search that it avoids.
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
    text = _AMPERSAND.sub("&", text)  # decodes a chain such as `&amp;amp;lt;` of any length in one step
    try:
        return html.unescape(text)
    except ValueError:  # from int(), which refuses thousands of digits, even zeros
        return html.unescape(_HUGE_NUMBER.sub("\ufffd", text))


def _without_debris(text: str) -> str:
    if text.isprintable():  # the only printable white space is U+0020
        return text
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return " ".join(_INVISIBLE.sub("", text).split())
