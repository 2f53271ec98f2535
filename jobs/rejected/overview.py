"""The topic of rejections as text for people. No I/O."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jobs.audit.report import printable
from jobs.documents import iso
from jobs.feeds.model import CODES
from jobs.rejected.entries import Done, Entry, why_not_replayable

MAX_REASONS = 3  # that are shown of a group
MAX_COUNTED_REASONS = 1_000
MAX_GROUPS = 50
MAX_SAMPLE = 100  # characters
HEX_BYTES = 32  # in a line
OTHERS = "(others)"


@dataclass
class Group:
    """Rejections with the same code and source. first, last: their times, ms since 1970 UTC."""

    sample: Entry
    first: int
    last: int
    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        self.count += entry.count
        self.first, self.last = min(self.first, entry.time), max(self.last, entry.time)
        known = entry.reason in self.reasons or len(self.reasons) < MAX_COUNTED_REASONS
        self.reasons[entry.reason if known else OTHERS] += entry.count


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """The groups, the largest first. Beyond MAX_GROUPS of them, the rest is one group."""
    groups: dict[tuple[str, str], Group] = {}
    for entry in entries:
        key = (entry.code, entry.source)
        if key not in groups and len(groups) >= MAX_GROUPS:
            key = (OTHERS, OTHERS)
        groups.setdefault(key, Group(entry, entry.time, entry.time)).add(entry)
    return sorted(groups.values(), key=lambda group: -group.count)


def overview(groups: Iterable[Group], done: Done, *, topic: str, rejected_topic: str, feed: str) -> Iterator[str]:
    """The lines of `make rejected`. topic, rejected_topic: of posts and of rejections. feed: the name of today's."""
    groups = list(groups)
    count = sum(group.count for group in groups)
    before = f"{done.replayed} were replayed as {done.posts} posts, {done.discarded} were discarded"
    yield f"topic {rejected_topic}: {count} rejections are neither replayed nor discarded; {before}"
    for group in groups:
        yield ""
        yield from group_lines(group, topic, feed)
    if groups:
        yield ""
        yield f"to see one completely: make rejected SHOW={groups[0].sample.place}"
        yield f"to discard a group: make rejected DISCARD={shlex.quote(groups[0].sample.code)}"


def group_lines(group: Group, topic: str, feed: str) -> Iterator[str]:
    sample = group.sample
    times = f"from {iso(group.first // 1000)} to {iso(group.last // 1000)}"
    written_by = "" if sample.by_aggregator else f" of the feed {printable(sample.source)}"
    yield f"{printable(sample.code)}: {group.count}{written_by}, {times}"
    if meaning := CODES.get(sample.code):
        yield f"  {meaning}"
    for reason, count in group.reasons.most_common(MAX_REASONS):
        if reason not in (meaning, sample.code):
            yield f"  {count} x {printable(reason)}"
    if len(group.reasons) > MAX_REASONS:
        yield f"  and {len(group.reasons) - MAX_REASONS} more reasons"
    yield f"  {sample.place}: {escaped(sample.record[:MAX_SAMPLE])}"
    obstacle = why_not_replayable(sample, topic, feed)
    yield f"  no replay: {obstacle}" if obstacle else f"  replay: make rejected REPLAY={shlex.quote(sample.code)}"


def details(entry: Entry, topic: str, feed: str) -> Iterator[str]:
    """The lines of SHOW."""
    shown = {
        "code": entry.code,
        "reason": entry.reason,
        "rejected record" if entry.by_aggregator else "feed": entry.key if entry.by_aggregator else entry.source,
        "server": entry.server,
        "time": iso(entry.time // 1000),
        "position": entry.position or "",
        "part of the frame" if len(entry.items) < 2 else "parts of the frame": ", ".join(map(str, entry.items)),
        "bytes": str(entry.size),
        "replay": why_not_replayable(entry, topic, feed) or f"make rejected REPLAY={shlex.quote(entry.code)}",
    }
    yield from (f"{name}: {escaped(text)}" for name, text in shown.items() if text)
    yield ""
    yield from frame_lines(entry)


def frame_lines(entry: Entry) -> Iterator[str]:
    """The frame as text if it is text, else in hex."""
    if entry.frame is None:
        yield from map(escaped, entry.record.split("\n"))
        return
    try:
        text = None if entry.binary else entry.frame.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None:
        yield from map(escaped, text.split("\n"))
        return
    for at in range(0, len(entry.frame), HEX_BYTES):
        yield f"{at:08x}  {entry.frame[at : at + HEX_BYTES].hex(' ')}"


def escaped(text: str) -> str:
    """An untrusted text for one line of a terminal: control characters are escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
