"""Hides secrets before URLs and the texts of servers and client libraries are logged."""

import html
import re
from base64 import b64encode
from urllib.parse import SplitResult, parse_qsl, quote, unquote, unquote_plus, urlsplit

# The query parameters of the supported feeds. The value of any other parameter may be a token.
LOGGABLE_QUERY_PARAMS = {"format", "since", "feed", "shard", "cursor", "wantedCollections", "kinds", "collections"}
# Parts of a path that may be logged. Some servers take a token in the path.
LOGGABLE_PATH_PARTS = {"", "api", "coronavirus", "feed", "stream", "subscribe", "v1", "v2", "v3", "ws"}
HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; hiding shorter ones would make a text unreadable, and they protect nothing
MAX_LOGGED = 300  # characters of a server's text
URL = re.compile(r"(?:wss?|https?|socks\w*)://[^\s'\"<>]+", re.IGNORECASE)


def redact_url(url: str) -> str:
    """The URL for the log: without user and password.

    Only LOGGABLE_QUERY_PARAMS and LOGGABLE_PATH_PARTS stay.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no address
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(part if part in LOGGABLE_PATH_PARTS else HIDDEN for part in parts.path.split("/"))
    shown = [f"{name}={value}" for name, value in parse_qsl(parts.query) if name in LOGGABLE_QUERY_PARAMS]
    return f"{parts.scheme}://{host}{path}{'?' if shown else ''}{'&'.join(shown)}"


def redact_text(text: str, url: str) -> str:
    """A text that resulted from a request to `url`, for the log: one line, at most MAX_LOGGED characters.

    Servers quote the request in their answers. So the secrets of `url` are replaced, in the encodings in which a server
    is likely to return them, and each URL in the text is passed through `redact_url`.
    """
    try:
        secrets = _secrets(urlsplit(url))
    except ValueError:  # no address
        return HIDDEN
    line = " ".join(URL.sub(lambda found: redact_url(found[0]), text).split())
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, HIDDEN)
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= MAX_LOGGED else line[:MAX_LOGGED] + "..."


def _secrets(parts: SplitResult) -> set[str]:
    """The secrets of a URL: as they are written there, and in other encodings."""
    login = parts.netloc.rpartition("@")[0]
    plain = unquote(login)
    basic = b64encode((plain if ":" in plain else f"{plain}:").encode()).decode()
    written = [*login.split(":", 1), basic if login else "", parts.fragment]
    written += [part for part in parts.path.split("/") if part not in LOGGABLE_PATH_PARTS]
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) not in LOGGABLE_QUERY_PARAMS:
            written.append(value or name)
    decoded = {form for text in written for form in (text, unquote(text), unquote_plus(text))}
    encoded = {form for text in decoded for form in (quote(text, safe=""), html.escape(text))}
    return {text for text in decoded | encoded if len(text) >= SHORTEST_SECRET}
