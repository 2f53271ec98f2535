"""Random histories of faults: whatever happens, each number that the feed gave out is accounted for exactly once.

The feed, the server, Kafka's transactions and Flink's state are models; the collection is the real one.
"""

import json
import pickle
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobs.event_time import MAX_AHEAD_MS, MAX_BEHIND_MS
from jobs.feed_processor import Batch, FeedProcessor, FeedState, Frame, Record
from jobs.feeds.feed import Feed, make_feed
from jobs.feeds.model import Shard
from jobs.resume import progress_from
from tests.support.examples import examples

START_MS = 1_767_225_600_000
SECOND_US = 1_000_000
HISTORIES = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)


def clean(text: str) -> str:
    return text.replace("#", "")


def value(record: Record) -> dict[str, Any]:
    return dict(json.loads(record.value))


class Written(NamedTuple):
    """The values of both topics in Kafka, in the order of writing."""

    tweets: tuple[dict[str, Any], ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()


class Collector(RuleBasedStateMachine):
    """The collector's side of a history: a processor, its last checkpoint, and the open transaction."""

    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.clock = START_MS
        self.clock_went_back = False
        self.connected = False
        self.committed = self.written = Written()
        self.kept: tuple[Any, ...] = tuple(FeedState())
        self.start(FeedState())

    # What a history needs to know of its feed.

    def feed(self) -> Feed:
        return make_feed(self.kind, str)

    def connect(self, resumed: bool) -> bool:
        """Answer a request; False if the server cannot resume from the position."""
        raise NotImplementedError

    def next_frame(self) -> bytes | None:
        """The frame that the server sends next; None when it has none."""
        raise NotImplementedError

    def slowest_clock(self) -> int:
        """How far the collector's clock may be set back, in ms since 1970 UTC."""
        return 0

    # Steps that all feeds have in common.

    def start(self, progress: FeedState) -> None:
        self.connected = False
        self.written = self.committed
        self.heartbeat_time = max((record["timestamp"] for record in heartbeats(self.written)), default=0)
        self.processor = FeedProcessor(self.feed(), Shard(), clean, progress)
        self.processor.heartbeat_keys = ["heartbeat-0", "heartbeat-1"]

    def ask(self) -> None:
        """A connection, as the reader makes it: live only when the position is refused or there is none."""
        self.clock += 1
        resumed = self.processor.resume_from is not None
        self.processor.on_subscribed(resumed)
        if not self.connect(resumed):
            self.processor.on_resume_rejected()
            assert self.processor.resume_from is None
            self.processor.on_subscribed(False)
            assert self.connect(False)
        self.connected = True

    def take(self, *frames: bytes) -> None:
        self.write(self.processor.process([Frame(frame, True, self.clock) for frame in frames]))

    def write(self, batch: Batch) -> None:
        """Write a batch, and look at the event time of each record in it."""
        tweets = tuple(map(value, batch.posts))
        rejected = tuple(map(value, batch.rejected))
        self.written = Written((*self.written.tweets, *tweets), (*self.written.rejected, *rejected))
        for record in tweets:
            assert record["timestamp"] <= self.clock
            if record["text"] is None:
                assert record["timestamp"] >= min(self.heartbeat_time, self.clock)
                self.heartbeat_time = max(self.heartbeat_time, record["timestamp"])
            else:
                assert record["timestamp"] >= min(self.heartbeat_time - MAX_BEHIND_MS, self.clock)

    @rule(
        milliseconds=st.integers(1, 400) | st.integers(1_000, 90_000) | st.integers(-90_000, -1),
        quiet=st.none() | st.integers(-100, 90_000),
    )
    def let_time_pass(self, milliseconds: int, quiet: int | None) -> None:
        """The clock advances or is set back, and a heartbeat follows."""
        self.clock = max(self.clock + milliseconds, self.slowest_clock())
        self.clock_went_back |= milliseconds < 0
        self.write(Batch(posts=self.processor.heartbeat(self.clock, quiet)))

    @rule()
    def checkpoint(self) -> None:
        self.committed = self.written
        self.kept = pickle.loads(pickle.dumps(tuple(self.processor.progress)))

    def restart(self) -> None:
        self.start(FeedState(*self.kept))

    def restart_without_state(self) -> None:
        values = [json.dumps(record) for record in self.committed.tweets]
        progress = progress_from(values, self.feed(), Shard()) or FeedState()
        self.kept = tuple(progress)
        self.start(progress)

    @invariant()
    def ids_are_unique(self) -> None:
        ids = Counter(record["id"] for record in posts(self.written))
        assert [identity for identity, times in ids.items() if times > 1] == []


def posts(written: Written) -> list[dict[str, Any]]:
    return [record for record in written.tweets if record["text"] is not None]


def heartbeats(written: Written) -> list[dict[str, Any]]:
    return [record for record in written.tweets if record["text"] is None]


def reported_gaps(written: Written) -> list[dict[str, Any]]:
    found = [each for each in written.rejected if each["reason"].startswith(("lost: ", "rejected frames"))]
    return [json.loads(each["record"]) for each in found]


def positions(records: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """(numbering, number) of each record that has a position."""
    found = [each["position"].rpartition("/") for each in records if each["position"] is not None]
    return [(numbering, int(number)) for numbering, _, number in found]


class Made(NamedTuple):
    """A post that the feed has given a number: its frame, and whether that is too large to be received."""

    frame: bytes
    large: bool


FAULTS = st.sampled_from(["", "", "", "", "malformed", "emptied", "large"])
STAMPS = st.sampled_from([0, 0, 0, -500, -20_000, -40_000, -(10**7), 300, 70_000, 10**10])


class Numbered(Collector):
    """A feed of contiguous numbers, as the simulator: posts are numbered from 1 in numberings that have names."""

    kind = "simulator"

    def __init__(self) -> None:
        self.numbering = 0
        self.made: list[Made] = []
        self.behind = 0  # how many of the newest posts a server with a slower clock does not have yet
        self.rewind = 0
        self.refuses = False
        self.cursor = 0  # index of the post that is sent next
        self.wrong: set[str] = set()  # texts of the posts that were sent with a wrong number
        self.unreadable: Counter[tuple[str, int]] = Counter()  # how often each number may have been rejected unread
        # What was rejected explains a gap only roughly when known posts are sent again, with wrong numbers or not all
        # of them, or when a wrong number is that of a post that was left out.
        self.roughly = False
        self.skips = 0
        self.unresolved = False  # a wrong number was sent, and no post since then moved the position
        super().__init__()

    def name(self) -> str:
        return f"n{self.numbering}"

    def newest(self) -> int:
        return max(0, len(self.made) - self.behind)

    def frame(self, number: int, text: str, timestamp: int) -> bytes:
        return json.dumps({"seq": number, "timestamp": timestamp, "text": text, "feed": self.name()}).encode()

    def make(self, fault: str, stamp: int) -> None:
        number = len(self.made) + 1
        text = f"{'#' if fault == 'emptied' else f'post {self.name()}/{number}'}"
        frame = self.frame(number, text, max(0, self.clock + stamp))
        self.made.append(Made(frame[:-1] if fault == "malformed" else frame, fault == "large"))

    def connect(self, resumed: bool) -> bool:
        if not resumed:
            self.cursor = self.newest()
            return True
        position = self.processor.resume_from
        assert position is not None
        if self.refuses or position.numbering != self.name():
            return False
        self.cursor = max(0, position.number - self.rewind)
        return True

    def send(self, frames: list[bytes]) -> None:
        before = self.processor.resume_from
        self.take(*frames)
        self.unresolved &= self.processor.resume_from == before

    def post(self, posts: list[tuple[str, int]]) -> None:
        for fault, stamp in posts:
            self.clock += 50
            self.make(fault, stamp)
        self.behind = 0

    @rule(rewind=st.sampled_from([0, 0, 1, 3, 1000]), behind=st.sampled_from([0, 0, 2, 9]), refuses=st.integers(0, 4))
    def reconnect(self, rewind: int, behind: int, refuses: int) -> None:
        self.rewind, self.behind, self.refuses = rewind, behind, refuses == 4
        self.ask()

    @rule(
        posts=st.lists(st.tuples(FAULTS, STAMPS), min_size=1, max_size=6),
        most=st.integers(2, 12),
        times=st.sampled_from([1, 1, 2]),
        together=st.booleans(),
    )
    def go_on(self, posts: list[tuple[str, int]], most: int, times: int, together: bool) -> None:
        """The feed makes posts, and the server sends some of those that are due."""
        self.connect_again()
        self.post(posts)
        self.stream(most, times, together)

    @rule(posts=st.integers(1, 9), most=st.integers(1, 9))
    def go_on_soundly(self, posts: int, most: int) -> None:
        self.go_on([("", 0)] * posts, most, 1, True)

    def stream(self, most: int, times: int, together: bool) -> None:
        """Send due posts, in one piece or one by one, each of them so many times."""
        upcoming = self.made[self.cursor : min(self.newest(), self.cursor + most)]
        sound = upcoming[: next((index for index, made in enumerate(upcoming) if made.large), most)]
        for number, made in enumerate(sound, start=self.cursor + 1):
            if not made.frame.endswith(b"}"):
                self.unreadable[self.name(), number] = 2
        self.cursor += len(sound)
        frames = [made.frame for made in sound for _ in range(times)]
        for part in [frames] if together else [[frame] for frame in frames]:
            self.send(part)
        if len(sound) < len(upcoming):  # the reader breaks off the connection at a frame that is too large
            self.cursor += 1
            self.skips += 1
            self.write(self.processor.skip("a frame larger than 9 bytes", self.clock))
            self.connected = False

    @rule(count=st.integers(1, 9), behind_it=st.integers(0, 3))
    def leave_out(self, count: int, behind_it: int) -> None:
        """The server skips posts and continues."""
        self.connect_again()
        self.post([("", 0)] * count)
        self.roughly |= self.repeats()
        self.cursor = max(self.cursor, min(self.newest(), self.cursor + count))
        self.post([("", 0)] * behind_it)
        self.stream(behind_it, 1, True)

    @precondition(lambda self: not self.unresolved and self.processor.resume_from is not None)
    @rule(leap=st.integers(-9, 9).filter(bool) | st.integers(10, 1000), extra=st.booleans())
    def leap(self, leap: int, extra: bool) -> None:
        """One post is sent with a wrong number, instead of or in addition to the right one."""
        self.connect_again()
        self.post([("", 0)])
        if self.cursor < self.newest():
            self.roughly |= self.repeats() or leap < 0
            number = self.cursor + 1
            text = f"post {self.name()}/{number}"
            self.wrong.add(text)
            # One beside the right one looks like one of those that were left out before it.
            self.unreadable[self.name(), number - extra] += 1
            self.unreadable[self.name(), number] += extra
            self.cursor += not extra
            self.send([self.frame(max(0, number + leap), text, self.clock)])
            self.unresolved = True

    @rule(fault=st.sampled_from(["disconnect", "restart", "restart", "lose state", "renumber"]))
    def fail(self, fault: str) -> None:
        self.connected = False
        if fault == "restart":
            self.restart()
        elif fault == "lose state" and not (self.clock_went_back and self.numbering):
            self.restart_without_state()
        elif fault == "renumber":  # as the simulator with another rate
            self.numbering += 1
            self.made, self.skips = [], 0
            self.post([("", 0)])

    def repeats(self) -> bool:
        """Whether the server is at a post that the processor has already."""
        position = self.processor.resume_from
        return position is not None and position.numbering == self.name() and self.cursor < position.number

    def connect_again(self) -> None:
        if not self.connected:
            self.ask()

    @invariant()
    def each_number_is_accounted_for_once(self) -> None:
        collected: dict[str, Counter[int]] = {}
        for numbering, number in positions([*posts(self.written), *self.written.rejected]):
            collected.setdefault(numbering, Counter())[number] += 1
        for numbering, numbers in collected.items():
            first, last = min(numbers), max(numbers)
            for gap in reported_gaps(self.written):
                if gap["numbering"] == numbering and gap["last"] is None:
                    assert gap["first"] == last + 1
                elif gap["numbering"] == numbering:
                    hidden = range(gap["first"], gap["last"] + 1)
                    assert gap["lost"] + gap["rejected"] == len(hidden)
                    unreadable = sum(self.unreadable[numbering, number] for number in hidden)
                    assert gap["rejected"] <= unreadable or self.roughly
                    numbers.update(hidden)
            assert numbers == Counter(range(first, last + 1))

    @invariant()
    def nothing_moves_the_position_ahead_of_the_feed(self) -> None:
        """But frames too large, where the server begins further back than asked: which number they have is unknown."""
        position = self.processor.resume_from
        if position is not None and position.numbering == self.name():
            assert position.number <= len(self.made) + self.skips

    @invariant()
    def each_number_is_that_of_its_post(self) -> None:
        for record in posts(self.written):
            assert record["text"] == f"post {record['position']}" or record["text"] in self.wrong

    def teardown(self) -> None:
        """In the end the server works, and no post is missing."""
        self.rewind, self.behind, self.refuses = 0, 0, False
        self.ask()
        self.drain()
        position = self.processor.resume_from
        ahead = 0 if position is None else max(0, position.number - len(self.made))
        self.post([("", 0)] * (ahead + 3))
        self.drain()
        self.each_number_is_accounted_for_once()
        numbers = [number for numbering, number in positions(posts(self.written)) if numbering == self.name()]
        assert max(numbers) == len(self.made)

    def drain(self) -> None:
        while self.cursor < len(self.made):
            self.stream(12, 1, True)
            if not self.connected:
                self.ask()


class Event(NamedTuple):
    """An event of a feed with times: the moment in microseconds, its name, what it is, how far its stamp leaps."""

    moment: int
    rkey: str
    nature: str
    leap: int


NATURES = st.sampled_from(["post", "post", "post", "like", "emptied", "malformed", "ahead"])
PAUSES_MS = st.integers(100, 4_000)
MARGIN_US = 2 * SECOND_US  # what the servers' clocks and the tolerance of gaps may hide


class Timed(Collector):
    """A feed whose positions are times, as Jetstream, from servers whose clocks differ a little."""

    kind = "jetstream-v1"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.cursor = 0
        self.offset = 0  # of the clock of the server that is asked, in microseconds
        self.rewind = 0  # so much further back than asked the answer begins, in microseconds
        self.oldest = 0  # index of the oldest event that the server has
        self.refuses = False
        self.truth = START_MS * 1000  # the right time, in microseconds, which the collector's clock may leave
        super().__init__()

    def slowest_clock(self) -> int:
        # A clock that is more than MAX_AHEAD_MS behind the feed's makes all positions incredible.
        return self.truth // 1000 - MAX_AHEAD_MS + 1_000

    def make(self, nature: str, pause_ms: int) -> None:
        self.clock += pause_ms
        self.truth += pause_ms * 1000
        ahead = nature == "ahead" and self.processor.resume_from is not None
        self.events.append(Event(self.truth, f"p{len(self.events)}", nature, 10**6 * SECOND_US * ahead))

    def frame(self, event: Event) -> bytes:
        text = "#" if event.nature == "emptied" else event.rkey
        collection = "app.bsky.feed." + ("like" if event.nature == "like" else "post")
        commit = {"operation": "create", "collection": collection, "rkey": event.rkey, "record": {"text": text}}
        time_us = event.moment + event.leap + self.offset
        frame = json.dumps({"did": "did:plc:a", "time_us": time_us, "kind": "commit", "commit": commit}).encode()
        return frame[:-1] if event.nature == "malformed" else frame

    def connect(self, resumed: bool) -> bool:
        position = self.processor.resume_from
        if not resumed or position is None:
            self.cursor = len(self.events)
            return True
        if self.refuses:
            return False
        asked = position.number - self.processor.feed.overlap - self.rewind
        later = (index for index, event in enumerate(self.events) if event.moment + self.offset >= asked)
        self.cursor = max(self.oldest, next(later, len(self.events)))
        return True

    @rule(
        events=st.lists(st.tuples(NATURES, PAUSES_MS), min_size=1, max_size=8),
        most=st.integers(1, 40),
        times=st.sampled_from([1, 1, 2]),
        together=st.booleans(),
    )
    def go_on(self, events: list[tuple[str, int]], most: int, times: int, together: bool) -> None:
        self.connect_again()
        for nature, pause_ms in events:
            self.make(nature, pause_ms)
        self.stream(most, times, together)

    def stream(self, most: int, times: int, together: bool) -> None:
        due = self.events[self.cursor : self.cursor + most]
        self.cursor += len(due)
        frames = [self.frame(event) for event in due for _ in range(times)]
        for part in [frames] if together else [[frame] for frame in frames]:
            self.take(*part)

    @rule(
        offset_ms=st.integers(-300, 300),
        rewind=st.sampled_from([0, 0, 3 * SECOND_US, 60 * SECOND_US, 3600 * SECOND_US]),
        refuses=st.integers(0, 4),
    )
    def reconnect(self, offset_ms: int, rewind: int, refuses: int) -> None:
        self.offset, self.rewind, self.refuses = 1000 * offset_ms, rewind, refuses == 4
        self.ask()

    @rule(unheard=st.lists(st.tuples(NATURES, PAUSES_MS), min_size=3, max_size=9))
    def forget_events(self, unheard: list[tuple[str, int]]) -> None:
        """During a disconnect the feed continues, and the server keeps only later events."""
        self.connected = False
        self.make("post", 4_000)
        for nature, pause_ms in unheard:
            self.make(nature, pause_ms)
        self.make("post", 4_000)
        self.oldest = len(self.events)

    @precondition(lambda self: self.connected)
    @rule()
    def meet_a_frame_too_large(self) -> None:
        self.connected = False
        self.write(self.processor.skip("a frame larger than 9 bytes", self.clock))

    @rule(fault=st.sampled_from(["disconnect", "restart", "restart", "lose state"]))
    def fail(self, fault: str) -> None:
        self.connected = False
        if fault == "restart":
            self.restart()
        elif fault == "lose state":
            self.restart_without_state()

    def connect_again(self) -> None:
        if not self.connected:
            self.ask()

    @invariant()
    def each_post_is_collected_or_its_moment_is_reported(self) -> None:
        self.check(at_the_end=False)

    def check(self, at_the_end: bool) -> None:
        there = [record["text"] for record in posts(self.written)]
        # An implausible time shows no gap: the next one does.
        indexes = [index for text in there if not self.events[index := int(text[1:])].leap]
        # What was before the first post that came live may come as well, since the feed is asked from further back.
        begin, end = (indexes[0], max(indexes)) if indexes else (0, 0)
        lost = reported_gaps(self.written)
        for event in self.events[begin : len(self.events) if at_the_end else end]:
            if event.nature in ("post", "ahead") and event.rkey not in there:
                assert any(self.hides(gap, event) for gap in lost), event

    def hides(self, gap: dict[str, Any], event: Event) -> bool:
        begins = gap["first"] - MARGIN_US <= event.moment
        return bool(begins and (gap["last"] is None or event.moment <= gap["last"] + MARGIN_US))

    @invariant()
    def little_is_remembered(self) -> None:
        assert len(self.processor.progress.recent) <= 300

    def teardown(self) -> None:
        self.rewind, self.offset, self.refuses = 0, 0, False
        self.ask()
        position = self.processor.resume_from
        skipped = 0 if position is None else max(0, position.number - self.truth) // 1000
        for pause_ms in (skipped + 1_000, 1_000, 1_000):
            self.make("post", pause_ms)
        self.stream(len(self.events), 1, True)
        assert {event.rkey for event in self.events[-3:]} <= {record["text"] for record in posts(self.written)}
        self.check(at_the_end=True)


TestNumbered = Numbered.TestCase
TestNumbered.settings = HISTORIES
TestTimed = Timed.TestCase
TestTimed.settings = HISTORIES
