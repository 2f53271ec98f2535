"""Splits a window's texts into chunks that each fit into one MongoDB document."""

from collections.abc import Iterator, Sequence

# The most bytes of an element of a BSON array in addition to its UTF-8 text: type, index, length, two zeros.
# Source: https://bsonspec.org/spec.html
ELEMENT_BYTES = 16
# The most bytes of a character.
UTF_8_BYTES = 4


def split(texts: Sequence[str], max_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, texts) of chunks whose texts need at most `max_bytes` in a document, numbered from 0.

    Texts that fit into one chunk keep their order. Otherwise they are sorted: then the same window is always split at
    the same places, whatever the order of its posts, and a replay replaces every chunk. A single text over the limit is
    a chunk of its own.
    """
    at_most = sum(map(len, texts)) * UTF_8_BYTES + len(texts) * ELEMENT_BYTES
    if at_most <= max_bytes or sum(map(needed_bytes, texts)) <= max_bytes:
        if texts:
            yield 0, list(texts)
        return
    number, size = 0, 0
    chunk: list[str] = []
    for text in sorted(texts):
        needed = needed_bytes(text)
        if chunk and size + needed > max_bytes:
            yield number, chunk
            number, size, chunk = number + 1, 0, []
        chunk.append(text)
        size += needed
    if chunk:
        yield number, chunk


def needed_bytes(text: str) -> int:
    return len(text.encode()) + ELEMENT_BYTES
