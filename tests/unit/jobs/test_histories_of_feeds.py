"""Random histories of the feeds that a definition can describe. See test_histories.py.

Each post that the feed gave out is in the topic once, or inside a reported gap, or rejected.
"""

import json
from typing import Any, ClassVar, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from jobs.feeds.definition import check
from jobs.feeds.feed import Feed
from tests.support.examples import examples
from tests.unit.jobs.test_histories import START_MS, Collector, positions, posts, reported_gaps

HISTORIES = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
RESUME: dict[str, Any] = {"query": {"since": "${position}"}, "inclusive": True}
ITEMS = st.lists(st.sampled_from(["post", "post", "like", "emptied", "malformed"]), min_size=1, max_size=4)
FAULTS = st.sampled_from(["disconnect", "restart", "restart", "lose state"])


class Of(Collector):
    """A history of a feed with a definition. Subclasses say what its server does."""

    mapping: ClassVar[dict[str, Any]]

    def feed(self) -> Feed:
        return Feed(check(self.mapping), str)

    def connect_again(self) -> None:
        if not self.connected:
            self.ask()

    @rule(fault=FAULTS)
    def fail(self, fault: str) -> None:
        self.connected = False
        if fault == "restart":
            self.restart()
        elif fault == "lose state":
            self.restart_without_state()


class Sent(NamedTuple):
    """A frame of the feed: its number, its ids of posts, and its bytes."""

    number: int
    ids: list[str]
    frame: bytes


class Growing(Of):
    """A feed of many posts a frame, whose frames have numbers that only grow."""

    mapping: ClassVar[dict[str, Any]] = {
        "name": "growing",
        "frames": {"each": "items"},
        "post": {
            "id": "{id}",
            "text": "text",
            "time": {"path": "$.at", "unit": "ms"},
            "keep": [{"path": "kind", "equals": "post"}],
        },
        "position": {"path": "$.n"},
        "resume": RESUME,
    }

    def __init__(self) -> None:
        self.made: list[Sent] = []
        self.oldest = 0  # index of the oldest frame that the server has
        self.cursor = 0
        self.rewind = 0
        self.refuses = False
        self.hidden: set[str] = set()  # ids in frames that were skipped, and of posts that are no posts
        super().__init__()

    def make(self, jump: int, items: list[str]) -> None:
        self.clock += 50
        number = (self.made[-1].number if self.made else 0) + jump
        values, ids = [], []
        for index, nature in enumerate(items):
            identity = f"{number}-{index}"
            text: object = {"emptied": "#", "malformed": 7}.get(nature, identity)
            values.append({"id": identity, "kind": "like" if nature == "like" else "post", "text": text})
            ids += [identity] if nature == "post" else []
        frame = json.dumps({"n": number, "at": self.clock, "items": values}).encode()
        self.made.append(Sent(number, ids, frame))

    def connect(self, resumed: bool) -> bool:
        position = self.processor.resume_from
        if not resumed or position is None:
            self.cursor = len(self.made)
            return True
        if self.refuses:
            return False
        begin = position.number + (not self.mapping["resume"]["inclusive"])
        found = next((index for index, sent in enumerate(self.made) if sent.number >= begin), len(self.made))
        self.cursor = max(self.oldest, found - self.rewind, 0)
        return True

    @rule(
        frames=st.lists(st.tuples(st.integers(1, 5), ITEMS), min_size=1, max_size=4),
        most=st.integers(1, 9),
        times=st.sampled_from([1, 1, 2]),
        together=st.booleans(),
    )
    def go_on(self, frames: list[tuple[int, list[str]]], most: int, times: int, together: bool) -> None:
        self.connect_again()
        for jump, items in frames:
            self.make(jump, items)
        due = self.made[self.cursor : self.cursor + most]
        self.cursor += len(due)
        sent = [each.frame for each in due for _ in range(times)]
        for part in [sent] if together else [[frame] for frame in sent]:
            self.take(*part)

    @rule(rewind=st.sampled_from([0, 0, 1, 3, 99]), refuses=st.integers(0, 4))
    def reconnect(self, rewind: int, refuses: int) -> None:
        self.rewind, self.refuses = rewind, refuses == 4
        self.ask()

    @precondition(lambda self: self.mapping["resume"]["inclusive"])
    @rule(frames=st.integers(1, 4))
    def forget_frames(self, frames: int) -> None:
        """During a disconnect the feed continues, and the server keeps only later frames."""
        self.connected = False
        for _ in range(frames):
            self.make(2, ["post"])
        self.oldest = len(self.made)

    @precondition(lambda self: self.connected and self.cursor < len(self.made))
    @rule()
    def meet_a_frame_too_large(self) -> None:
        self.connected = False
        self.write(self.processor.skip("a frame larger than 9 bytes", self.clock))

    @invariant()
    def each_post_is_accounted_for(self) -> None:
        there = {record["text"] for record in posts(self.written)}
        numbers = sorted({int(text.partition("-")[0]) for text in there})
        if not numbers:
            return
        gaps = [(gap["first"], end_of(gap, numbers)) for gap in reported_gaps(self.written)]
        for sent in self.made:
            if numbers[0] <= sent.number <= numbers[-1]:
                missing = [identity for identity in sent.ids if identity not in there]
                assert not missing or any(first <= sent.number <= last for first, last in gaps), sent
                assert missing in ([], sent.ids), "a frame is there in part"

    def teardown(self) -> None:
        """In the end the server works, and no post is missing."""
        self.rewind, self.refuses = 0, False
        position = self.processor.resume_from
        behind = 0 if position is None or not self.made else max(0, position.number - self.made[-1].number)
        self.ask()
        for jump in (behind + 1, 1):
            self.make(jump, ["post"])
        for sent in self.made[self.cursor :]:
            self.take(sent.frame)
        self.each_post_is_accounted_for()
        assert {f"{sent.number}-0" for sent in self.made[-2:]} <= {record["text"] for record in posts(self.written)}


def end_of(gap: dict[str, Any], numbers: list[int]) -> int:
    """The last position in a gap. One of unknown size ends before the next number that is there."""
    if gap["last"] is not None:
        return int(gap["last"])
    return next((number for number in numbers if number >= gap["first"]), numbers[-1] + 1) - 1


class Exclusive(Growing):
    """The same, from a server that begins behind the position."""

    mapping: ClassVar[dict[str, Any]] = {**Growing.mapping, "resume": {**RESUME, "inclusive": False}}


class Keyed(Of):
    """A feed that cannot resume, in which each key has numbers of its own."""

    mapping: ClassVar[dict[str, Any]] = {
        "name": "keyed",
        "post": {"text": "text", "time": {"path": "at", "unit": "ms"}},
        "position": {"path": "n", "dense": True, "per": "key"},
    }

    def __init__(self) -> None:
        self.numbers = dict.fromkeys("abc", 0)
        super().__init__()

    def connect(self, resumed: bool) -> bool:
        assert not resumed
        return True

    @rule(
        sent=st.lists(
            st.tuples(st.sampled_from("aaabbc"), st.sampled_from(["", "", "", "", "again", "malformed", "lost"])),
            min_size=1,
            max_size=8,
        ),
        together=st.booleans(),
    )
    def go_on(self, sent: list[tuple[str, str]], together: bool) -> None:
        self.connect_again()
        frames = []
        for key, nature in sent:
            self.clock += 50
            self.numbers[key] += nature != "again" or not self.numbers[key]
            if nature != "lost":
                value = {"n": self.numbers[key], "key": key, "at": self.clock, "text": f"{key}/{self.numbers[key]}"}
                frame = json.dumps(value).encode()
                frames.append(frame[:-1] if nature == "malformed" else frame)
        for part in [frames] if together else [[frame] for frame in frames]:
            self.take(*part)

    @rule(missed=st.lists(st.sampled_from("abc"), max_size=5))
    def go_on_unheard(self, missed: list[str]) -> None:
        """During a disconnect, the feed goes on."""
        self.connected = False
        for key in missed:
            self.numbers[key] += 1

    @invariant()
    def each_number_is_accounted_for_once(self) -> None:
        for key, newest in self.numbers.items():
            numbers = [number for name, number in positions(posts(self.written)) if name == key]
            if not numbers:
                continue
            accounted = [*numbers]
            for gap in reported_gaps(self.written):
                if gap["numbering"] == key:
                    hidden = range(gap["first"], gap["last"] + 1)
                    assert gap["lost"] + gap["rejected"] == len(hidden)
                    accounted += hidden
            assert sorted(accounted) == [*range(min(numbers), max(numbers) + 1)]
            assert max(numbers) <= newest

    @invariant()
    def each_number_is_that_of_its_post(self) -> None:
        assert [record for record in posts(self.written) if record["text"] != record["position"]] == []

    def teardown(self) -> None:
        self.ask()
        for _ in range(2):
            self.go_on([(key, "") for key in self.numbers], together=True)
        self.each_number_is_accounted_for_once()
        there = {record["text"] for record in posts(self.written)}
        assert {f"{key}/{number}" for key, number in self.numbers.items()} <= there


class Event(NamedTuple):
    """A post: its time in seconds, and its name."""

    at: int
    name: str


END = b'{"end": 1}'


class NewestFirst(Of):
    """A feed whose positions are seconds. It begins with the stored posts, newest first, at most so many."""

    mapping: ClassVar[dict[str, Any]] = {
        "name": "newest",
        "frames": {"replayed": {"path": "end"}},
        "post": {"id": "{id}", "text": "id", "time": {"path": "at", "unit": "s"}},
        "position": {"path": "at", "unit": "s"},
        "resume": {**RESUME, "overlap": 5},
    }
    overlap, tolerance = 5, 1

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.due: list[bytes] = []
        self.limit = 10**6
        super().__init__()

    def frame(self, event: Event) -> bytes:
        return json.dumps({"id": event.name, "at": event.at}).encode()

    def slowest_clock(self) -> int:
        return max((event.at * 1_000 for event in self.events), default=START_MS)

    def connect(self, resumed: bool) -> bool:
        position = self.processor.resume_from
        if resumed and position is not None:
            stored = [event for event in reversed(self.events) if event.at >= position.number - self.overlap]
            # A cut so near to the position shows no gap.
            cut = len(stored) > self.limit and stored[self.limit - 1].at > position.number + self.tolerance
            self.due = [self.frame(event) for event in (stored[: self.limit] if cut else stored)]
        else:
            self.due = []
        self.due.append(END)
        return True

    @rule(
        pauses=st.lists(st.integers(0, 4_000), min_size=1, max_size=6),
        most=st.integers(1, 20),
        times=st.sampled_from([1, 1, 2]),
        together=st.booleans(),
    )
    def go_on(self, pauses: list[int], most: int, times: int, together: bool) -> None:
        self.connect_again()
        self.make(pauses, heard=True)
        due, self.due = self.due[:most], self.due[most:]
        frames = [frame for frame in due for _ in range(times)]
        for part in [frames] if together else [[frame] for frame in frames]:
            self.take(*part)

    def make(self, pauses: list[int], *, heard: bool) -> None:
        for pause in pauses:
            self.clock += pause
            self.events.append(Event(self.clock // 1_000, f"p{len(self.events):05}"))
            self.due += [self.frame(self.events[-1])] if heard else []

    @rule(pauses=st.lists(st.integers(0, 20_000), min_size=1, max_size=6), limit=st.sampled_from([10**6, 10**6, 2, 5]))
    def go_on_unheard(self, pauses: list[int], limit: int) -> None:
        """During a disconnect the feed goes on. The next answer has at most so many stored posts."""
        self.connected = False
        self.make(pauses, heard=False)
        self.limit = limit

    @invariant()
    def each_post_is_collected_or_its_time_is_reported(self) -> None:
        """As far as the replays have ended: the position is behind them."""
        there = {record["text"] for record in posts(self.written)}
        position = self.processor.resume_from
        if not there or position is None:
            return
        first = min(there)
        gaps = reported_gaps(self.written)
        for event in self.events:
            if event.name > first and event.at < position.number - self.overlap and event.name not in there:
                assert any(hides(gap, event.at) for gap in gaps), event

    def teardown(self) -> None:
        self.connected, self.limit = False, 10**6
        self.ask()
        self.make([1_000, 10_000, 10_000], heard=True)
        self.go_on([1], most=10**6, times=1, together=True)
        self.each_post_is_collected_or_its_time_is_reported()
        assert self.events[-1].name in {record["text"] for record in posts(self.written)}


def hides(gap: dict[str, Any], at: int) -> bool:
    """Whether a gap is about this second. At its ends, it is about a part of a second."""
    return bool(gap["first"] - 1 <= at and (gap["last"] is None or at <= gap["last"] + 1))


TestGrowing = Growing.TestCase
TestGrowing.settings = HISTORIES
TestExclusive = Exclusive.TestCase
TestExclusive.settings = HISTORIES
TestKeyed = Keyed.TestCase
TestKeyed.settings = HISTORIES
TestNewestFirst = NewestFirst.TestCase
TestNewestFirst.settings = HISTORIES
