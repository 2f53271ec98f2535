"""Captures: files with the frames of a feed, one a line.

A line is the frame itself, or a JSON object with the time of arrival (ms since 1970 UTC):
`{"received": 1767225600000, "text": "..."}` or `{"received": 1767225600000, "base64": "..."}`. A frame that is no UTF-8
text has `base64`, and `"binary": true` if the server sent it as binary.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator

from jobs.records import Frame

WRAPPED = ({"received", "text"}, {"received", "base64"}, {"received", "base64", "binary"})


def to_line(frame: Frame) -> str:
    """The frame as a line of a capture, without the line break."""
    content: dict[str, object] = {"received": frame.received}
    try:
        text = frame.data.decode() if frame.is_text else None
    except UnicodeDecodeError:
        text = None
    if text is not None:
        content["text"] = text
    else:
        content["base64"] = b64encode(frame.data).decode()
        if not frame.is_text:
            content["binary"] = True
    return json.dumps(content)


def frames_in(lines: Iterable[bytes], now_ms: int) -> Iterator[Frame]:
    """The frames of a capture. Empty lines are left out. now_ms: the time of arrival of frames that have none."""
    for line in lines:
        data = line.strip(b"\r\n")
        if data.strip():
            yield unwrapped(data) or Frame(data, True, now_ms)


def unwrapped(line: bytes) -> Frame | None:
    """The frame in a line with a time of arrival; None for any other line."""
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or set(content) not in WRAPPED or type(content["received"]) is not int:
            return None
        if "text" in content:
            return Frame(content["text"].encode(errors="surrogatepass"), True, content["received"])
        return Frame(b64decode(content["base64"], validate=True), not content.get("binary"), content["received"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
