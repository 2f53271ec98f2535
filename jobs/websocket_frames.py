"""Finds the frames in the bytes that a WebSocket server sends. No I/O.

A frame of a server is a header of 2, 4 or 10 bytes and its payload, without a mask (RFC 6455, section 5.2).
"""

TEXT_MESSAGE = 0x81  # the first byte of a text message in one frame
MASKED = 0x80  # or more: the second byte of a frame that only a client may send
LENGTH_2, LENGTH_8 = 126, 127  # in place of a length: it follows, in so many bytes


def text_messages(data: bytes, at: int, limit: int) -> tuple[list[bytes], int]:
    """The text messages that begin at index `at`, one after the other, and the index behind them.

    It stops at anything else: other frames, messages that have not completely arrived, of 64 KiB or more, or over
    `limit` bytes. A general parser takes many times as long for a frame, and nearly all frames are such messages.
    """
    messages: list[bytes] = []
    append, end = messages.append, len(data)
    while at + 2 <= end:
        start, size = at + 2, data[at + 1]
        if size == LENGTH_2:
            if at + 4 > end:
                break
            start, size = at + 4, data[at + 2] << 8 | data[at + 3]
        elif size > LENGTH_2:
            break
        stop = start + size
        if data[at] != TEXT_MESSAGE or stop > end or size > limit:
            break
        append(data[start:stop])
        at = stop
    return messages, at


def end_of_frame(data: bytes, at: int, limit: int) -> int | None:
    """The index behind the frame that begins at index `at`; None while it has not completely arrived.

    For a frame that is refused because of its header, as masked or larger than `limit`, it is the end of `data`.
    """
    end, start = len(data), at + 2
    if start > end:
        return None
    size = data[at + 1]
    if size >= MASKED:
        return end
    if size >= LENGTH_2:
        start += 2 if size == LENGTH_2 else 8
        if start > end:
            return None
        size = int.from_bytes(data[at + 2 : start])
    if size > limit:
        return end
    return start + size if start + size <= end else None
