"""The lines that `make check_feed` shows. No I/O."""

import statistics
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from jobs.check_feed.examination import Examination, Kind, Sample, Tally
from jobs.check_feed.hiding import Hider
from jobs.feeds.definition import Definition

WIDTH = 12
# Below so many seconds, an age is shown in this unit of so many seconds.
UNITS = ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h"), (float("inf"), 86_400, "days"))


def line(label: str, text: str) -> str:
    return f"{label:<{WIDTH}} {text}"


def sample_lines(number: int, sample: Sample, hide: Hider) -> Iterator[str]:
    """A post before and after cleaning."""
    post = sample.post
    yield line(f"post {number}", hide(post.id))
    yield line("  time", f"{iso_ms(post.timestamp)}, {age_of(sample.received - post.timestamp)}")
    if post.position is not None:
        yield line("  position", f"{post.numbering}{'/' if post.numbering else ''}{post.position}")
    yield line("  text", hide(post.text))
    yield line("  cleaned", hide(sample.cleaned) or "nothing is left: it is rejected")
    if post.extra:
        yield line("  extra", hide(post.extra))


def summary_lines(feed: Definition, examination: Examination, hide: Hider, *, timed: bool) -> Iterator[str]:
    """What was counted. timed: the times of arrival are those of the frames."""
    tally = examination.tally
    frames, posts = (rate(each, tally) if timed else "" for each in (tally.frames, tally.posts))
    yield line("frames", f"{tally.frames:,}{frames}")
    yield line("  kept", f"{tally.kept:,} with {plural(tally.posts, 'post')}{posts}")
    kinds = {
        "ignored": tally.ignored,
        "control": tally.control,
        "rejected": tally.rejected,
        "errors": tally.errors,
    }
    for name, found in kinds.items():
        yield line(f"  {name}", f"{sum(kind.count for kind in found.values()):,}")
        yield from kind_lines(found, hide)
    if tally.events:
        yield line("events", events_per_frame(tally))
    if tally.ages:
        yield line("post time", ages(feed, tally, timed=timed))
    yield line("collector", collected(examination))


def kind_lines(kinds: Mapping[str, Kind], hide: Hider) -> Iterator[str]:
    for kind in sorted(kinds.values(), key=lambda each: -each.count):
        yield line("", f"{kind.count:,} by {hide(kind.name)}")
        for frame in kind.samples.values():
            yield line("", f"  e.g. {hide(frame.decode(errors='backslashreplace'))}")


def rate(number: int, tally: Tally) -> str:
    seconds = (tally.last - tally.first) / 1000
    return f", {number / seconds:,.1f} a second" if seconds >= 1 else ""


def events_per_frame(tally: Tally) -> str:
    """How many events the frames have that are neither control frames nor errors."""
    number, frames = sum(each * count for each, count in tally.events.items()), sum(tally.events.values())
    low, high = min(tally.events), max(tally.events)
    if low == high:
        return f"{low} in each frame"
    return f"{low} to {high} in a frame, {number / frames:.1f} on average"


def ages(feed: Definition, tally: Tally, *, timed: bool) -> str:
    if "time" not in feed.post:
        return "the time of arrival, because the definition has no post.time"
    low, middle, high = min(tally.ages), int(statistics.median(tally.ages)), max(tally.ages)
    text = f"{age_of(low)} to {age_of(high)}, median {age_of(middle)}" if low != high else age_of(low)
    ahead = sum(age < 0 for age in tally.ages)
    if ahead:
        text += f"; {ahead:,} are ahead of the clock: the collector takes the time of arrival for them"
    return text if timed else f"{text} (compared with the clock of now: the capture has no times of arrival)"


def collected(examination: Examination) -> str:
    """What the collector would have written."""
    counts = examination.counts
    parts = [plural(counts.posts, "post"), plural(counts.rejected + counts.emptied, "rejection")]
    parts += [f"{counts.overlap:,} that came twice are dropped"] if counts.overlap else []
    parts += [f"{plural(counts.gaps, 'gap')}, {counts.lost:,} lost"] if counts.gaps else []
    return "it would write " + ", ".join(parts)


def plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def iso_ms(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_of(milliseconds: int) -> str:
    """The age of a post when it arrived, for people."""
    if milliseconds == 0:
        return "at arrival"
    seconds = abs(milliseconds) / 1000
    unit, name = next((unit, name) for limit, unit, name in UNITS if seconds < limit)
    return f"{seconds / unit:.3g} {name} {'before arrival' if milliseconds > 0 else 'after arrival'}"
