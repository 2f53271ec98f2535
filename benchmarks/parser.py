"""Measures the parsers that are compiled from definitions against the fixed ones of `fixed_feeds`. No Kafka, no Flink.

Both sides parse the same frames in the same process. Each round measures one after the other; the side that begins
alternates. A warm-up round comes before the measured ones.
"""

import gc
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.fixed_feeds import JetstreamFeed, SimulatorFeed, TextFeed
from jobs.feeds.feed import make_feed
from simulator.posts import post_text

RECEIVED = 1_767_225_600_000
POSTS = 2_000  # frames of a feed, which are parsed in turn
# Of 100 events on Bluesky: an assumption. The rest creates posts.
LIKES, IDENTITIES = 5, 2

Parse = Callable[[bytes], object]


class Case(NamedTuple):
    """A feed with both parsers. As before, the fixed side gets bytes and decodes them."""

    name: str
    frames: Sequence[bytes]
    fixed: Parse
    compiled: Parse


def cases() -> Iterator[Case]:
    """The three feeds. Both sides count the ids of posts that have none from 1."""
    simulator, jetstream, text = SimulatorFeed(), JetstreamFeed(), TextFeed(new_ids())
    yield Case(
        "simulator",
        simulator_frames(POSTS),
        lambda data: simulator.parse(data.decode(), RECEIVED),
        compiled("simulator"),
    )
    yield Case("text", text_frames(POSTS), lambda data: text.parse(data.decode(), RECEIVED), compiled("text"))
    yield Case(
        "jetstream-v1",
        jetstream_frames(POSTS),
        lambda data: jetstream.parse(data.decode(), RECEIVED),
        compiled("jetstream-v1"),
    )


def compiled(preset: str) -> Parse:
    parse = make_feed(preset, new_ids()).parse
    return lambda data: parse(data, RECEIVED)


def new_ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: str(next(numbers))


def simulator_frames(count: int) -> list[bytes]:
    frames = [
        {"seq": number, "timestamp": RECEIVED + number, "text": post_text(1, number), "feed": "1a2b3c4d"}
        for number in range(1, count + 1)
    ]
    return [json.dumps(frame, ensure_ascii=False).encode() for frame in frames]


def text_frames(count: int) -> list[bytes]:
    return [post_text(1, number).encode() for number in range(1, count + 1)]


def jetstream_frames(count: int) -> list[bytes]:
    return [
        json.dumps(jetstream_event(number), ensure_ascii=False, separators=(",", ":")).encode()
        for number in range(1, count + 1)
    ]


def jetstream_event(number: int) -> dict[str, object]:
    """A synthetic event in the format of Jetstream, version 1."""
    event: dict[str, object] = {"did": f"did:plc:{number:024d}", "time_us": RECEIVED * 1_000 + number}
    kind = number % 100
    if kind < IDENTITIES:
        return {**event, "kind": "identity", "identity": {"did": event["did"], "handle": f"user{number}.example"}}
    like = kind < IDENTITIES + LIKES
    collection = "app.bsky.feed.like" if like else "app.bsky.feed.post"
    record: dict[str, object] = {"$type": collection, "createdAt": "2026-01-01T00:00:00.000Z"}
    if like:
        record["subject"] = {"cid": "bafyrei" + "a" * 52, "uri": f"at://did:plc:other/app.bsky.feed.post/{number}"}
    else:
        record |= {"langs": ["en"], "text": post_text(1, number)}
    commit = {
        "rev": f"3l{number:011d}",
        "operation": "create",
        "collection": collection,
        "rkey": f"3l{number:011d}",
        "record": record,
        "cid": "bafyrei" + "b" * 52,
    }
    return {**event, "kind": "commit", "commit": commit}


def measure(parse: Parse, frames: Sequence[bytes], seconds: float) -> float:
    """Frames a second of processor time. The frames are parsed again and again for at least that long."""
    # The processor's time does not count what other processes take.
    done, began = 0, time.process_time()
    while (taken := time.process_time() - began) < seconds:
        for frame in frames:
            parse(frame)
        done += len(frames)
    return done / taken


def run(say: Callable[[str], None], rounds: int, seconds: float = 0.5) -> dict[str, float]:
    """Measure all cases and print the rates. Returns the median ratio, compiled to fixed, of each.

    seconds: duration of one measurement.
    """
    ratios = {}
    for case in cases():
        say(f"\nparser {case.name}: {len(case.frames):,} frames, a warm-up and {rounds} rounds")
        sides = {"fixed": case.fixed, "compiled": case.compiled}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            gc.collect()
            for name in sorted(sides, reverse=number % 2 == 1):
                rate = measure(sides[name], case.frames, seconds)
                if number:
                    rates[name].append(rate)
        found = sorted(new / old for new, old in zip(rates["compiled"], rates["fixed"], strict=True))
        fixed, new = (statistics.median(rates[name]) for name in sides)
        say(f"  median: fixed {fixed:,.0f} frames/s, compiled {new:,.0f} frames/s")
        ratios[case.name] = statistics.median(found)
        say(
            f"  ratio compiled / fixed: {found[0]:.2f} minimum, {ratios[case.name]:.2f} median, {found[-1]:.2f} maximum"
        )
    return ratios
