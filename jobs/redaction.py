"""Hides secrets before URLs and the texts of servers and client libraries are logged."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

# The query parameters of the supported feeds. The value of any other parameter may be a token.
LOGGABLE_QUERY_PARAMS = {"format", "since", "feed", "shard", "cursor", "wantedCollections", "kinds", "collections"}
# Parts of a path that may be logged. Some servers take a token in the path.
LOGGABLE_PATH_PARTS = {"", "api", "coronavirus", "feed", "stream", "subscribe", "v1", "v2", "v3", "ws"}
HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; hiding shorter ones would make a text unreadable, and they protect nothing
MAX_LOGGED = 300  # characters of a server's text
# In which a server may return a text of a request.
ENCODINGS: tuple[Callable[[str], str], ...] = (
    html.escape,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="/"),
    quote_plus,
    lambda text: quote_plus(text, safe="/"),
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
)
URL = re.compile(r"(?:wss?|https?|socks\w*|mongodb(?:\+srv)?)://[^\s'\"<>]+", re.IGNORECASE)


def redact_url(url: str, secrets: Iterable[str] = ()) -> str:
    """The URL for the log: without user and password.

    Only LOGGABLE_QUERY_PARAMS and LOGGABLE_PATH_PARTS stay, and nothing of `secrets`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no address
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(part if part in LOGGABLE_PATH_PARTS else HIDDEN for part in parts.path.split("/"))
    shown = [f"{name}={value}" for name, value in parse_qsl(parts.query) if name in LOGGABLE_QUERY_PARAMS]
    return _hide(f"{parts.scheme}://{host}{path}{'?' if shown else ''}{'&'.join(shown)}", secrets)


def redact_text(text: str, url: str, secrets: Iterable[str] = ()) -> str:
    """A text that resulted from a request to `url`, for the log: one line, at most MAX_LOGGED characters.

    Servers quote the request in their answers. So the secrets of `url` and the other `secrets` of the request are
    replaced, in the encodings in which a server is likely to return them, and each URL in the text is passed through
    `redact_url`.
    """
    try:
        written = _secrets(urlsplit(url))
    except ValueError:  # no address
        return HIDDEN
    line = " ".join(URL.sub(lambda found: redact_url(found[0]), text).split())
    line = _hide(line, [*secrets, *written])
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= MAX_LOGGED else line[:MAX_LOGGED] + "..."


def _secrets(parts: SplitResult) -> list[str]:
    """The secrets of a URL, as they are written there."""
    login = parts.netloc.rpartition("@")[0]
    plain = unquote(login)
    basic = b64encode((plain if ":" in plain else f"{plain}:").encode()).decode()
    written = [*login.split(":", 1), basic if login else "", parts.fragment]
    written += [part for part in parts.path.split("/") if part not in LOGGABLE_PATH_PARTS]
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) not in LOGGABLE_QUERY_PARAMS:
            written.append(value or name)
    return written


def _hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, in the encodings in which a server is likely to return them."""
    decoded = {form for secret in secrets for form in (secret, unquote(secret), unquote_plus(secret))}
    encoded = {encode(secret) for secret in decoded for encode in ENCODINGS}
    for form in sorted(decoded | encoded, key=len, reverse=True):
        if len(form) >= SHORTEST_SECRET:
            text = text.replace(form, HIDDEN)
    return text
