"""Decides for each frame of a feed whether it is new, a duplicate, invalid, or behind a gap. No I/O.

There is one policy for each type of position: times, growing numbers and no positions are here, dense numbers are in
contiguous.py and per_key.py.
"""

from typing import NamedTuple, Protocol

from jobs.event_time import MAX_AHEAD_MS
from jobs.feeds.model import MAX_NUMBER, Ignored, Position, Post
from jobs.records import FeedState, Frame

# The servers of one feed give the same event slightly different stamps. A smaller difference is not a gap.
GAP_TOLERANCE_SECONDS = 1
# The most ids that are kept. With a wrong clock, ids would never become old enough to be dropped.
MAX_RECENT = 50_000
GAP_EXPIRED = "the server no longer has them"
GAP_LIVE_START = "the collector began live"
GAP_NOT_RESUMABLE = "the feed cannot resume"
NO_NUMBER = -1


class Accepted(NamedTuple):
    """A new frame, in order."""

    event: Post | Ignored
    frame: Frame


class Duplicate(NamedTuple):
    """A post that the feed sent twice."""

    position: int | None


class Invalid(NamedTuple):
    """A post whose number is wrong."""

    post: Post
    frame: Frame
    reason: str


class Gap(NamedTuple):
    """Positions that were not delivered, or whose frames were rejected.

    first, last: of dense numbers, the first and the last one that is missing; of other positions, the last one before
        the gap and the first one behind it. last, lost: None if the size of the gap is unknown.
    lost: how many of the positions were not delivered, without the rejected frames; 0 for rejected frames only.
    rejected: how many of the positions were rejected frames.
    why: the reason, for people.
    until: the feed's time after the gap, in ms.
    """

    numbering: str
    first: int | None
    last: int | None
    lost: int | None
    rejected: int
    why: str
    until: int


Decision = Accepted | Duplicate | Invalid | Gap


class Order(Protocol):
    """The order of a shard's frames: a policy and its state.

    next: the number of the next frame, which the caller may accept without `place`: it then sets `position` to `next`
        and adds `step` to `next`. NO_NUMBER: call `place` for the next frame.
    step: the distance between two numbers of the shard.
    position, numbering: of the last accepted frame.
    waiting: whether a frame is held back until the next one arrives.
    """

    next: int
    step: int
    position: int | None
    numbering: str

    @property
    def waiting(self) -> bool: ...

    @property
    def replaying(self) -> bool:
        """Whether older posts than the newest one may still come. Until then event time stands still."""

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        """The value of `FeedState.recent`."""

    def on_subscribed(self, resumed: bool) -> None:
        """A request was sent. The next frames are its answer.

        resumed: the request had `position`; False: it was live.
        """

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        """What to do with this frame, and with a frame that was held back.

        newest: event time of the newest post in ms.
        """

    def reject(self) -> None:
        """A frame arrived whose position cannot be read."""

    def skip(self, why: str) -> int | Gap | None:
        """Skip the next frame, which cannot be received. Returns its number, or the gap behind it, or None."""

    def on_replayed(self) -> Gap | None:
        """The feed has sent all stored posts. Returns the gap that this shows."""

    def forget(self) -> None:
        """Drop the ids of posts that are too old to be sent twice. Called after each group of frames."""


class NoOrder:
    """The order of a feed that neither resumes nor numbers its posts: each frame is accepted as it arrives.

    What it sent between two connections is lost, and how much that is stays unknown. known: whether there was an
    earlier connection.
    """

    next = NO_NUMBER
    step = 0
    position: int | None = None
    numbering = ""
    waiting = replaying = False
    recent: tuple[tuple[int, str], ...] = ()

    def __init__(self, known: bool) -> None:
        self._known = known
        self._away = known

    def on_subscribed(self, resumed: bool) -> None:
        self._away = self._known

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        gap = [Gap("", None, None, None, 0, GAP_NOT_RESUMABLE, frame.received)] if self._away else []
        self._known, self._away = True, False
        return [*gap, Accepted(event, frame)]

    def reject(self) -> None:
        pass

    def skip(self, why: str) -> None:
        return None

    def on_replayed(self) -> None:
        pass

    def forget(self) -> None:
        pass


class SequenceOrder:
    """The order of a feed whose positions are numbers that only grow, with jumps between them.

    The first numbers of an answer may be known already. Later in the same answer a lower number is no duplicate: the
    feed has begun again. In a live answer a newer stamp shows that, too.
    inclusive: the answer begins with the frame at the position. If it does not, the server no longer has it.
    """

    next = NO_NUMBER
    step = 0
    waiting = replaying = False
    recent: tuple[tuple[int, str], ...] = ()

    def __init__(self, inclusive: bool, progress: FeedState) -> None:
        self.position = progress.position
        self.numbering = progress.numbering
        self._inclusive = inclusive
        self._resumed = self._live = self._advanced = False
        self._skips = 0
        self.on_subscribed(True)

    def on_subscribed(self, resumed: bool) -> None:
        self._resumed = resumed and self.position is not None
        self._live = not resumed and self.position is not None
        self._advanced = False

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        if event.position is None:
            return [Accepted(event, frame)]
        at, last = Position(event.position, event.numbering), self.position
        behind = last is not None and at.numbering == self.numbering and at.number <= last
        renumbered = self._live and at.number != last and isinstance(event, Post) and newest < event.timestamp
        if behind and (at.number == last or not self._advanced) and not renumbered:
            self._resumed &= at.number != last
            self._live &= at.number != last
            return [Duplicate(at.number)] if isinstance(event, Post) else []
        gap = self._gap(at, event.timestamp if isinstance(event, Post) else frame.received, behind=behind)
        self._resumed = self._live = False
        self._advanced = True
        self._skips = 0
        self.position, self.numbering = at
        return [*gap, Accepted(event, frame)]

    def _gap(self, at: Position, until: int, *, behind: bool) -> list[Decision]:
        if self.position is None:
            return []
        if at.numbering != self.numbering:
            why = f"the feed has another numbering now, {at.numbering or 'without a name'}"
        elif behind:
            why = f"the numbering went back to {at.number}"
        elif self._live:
            why = GAP_LIVE_START
        elif self._resumed and self._inclusive:
            why = GAP_EXPIRED
        else:
            return []
        return [Gap(self.numbering, self.position + 1, None, None, 0, why, until)]

    def reject(self) -> None:
        pass

    def skip(self, why: str) -> Gap | None:
        """Advance the position past the frame, whose number is at least the next one.

        If the same frame comes again, its number is higher. So each further skip is twice as long.
        """
        if self.position is None:
            return None
        first, length = self.position + 1, 1 << self._skips
        self.position = min(self.position + length, MAX_NUMBER)
        self._skips += 1
        return Gap(self.numbering, first, self.position, length, 0, why, 0)

    def on_replayed(self) -> None:
        pass

    def forget(self) -> None:
        pass


class TimestampOrder:
    """The order of a feed whose positions are times, by the clock of the connected server.

    Such a feed resumes `overlap` before the position, and duplicates are recognized by their ids. The first frame of an
    answer shows whether there is a gap: either the server sends the frame at `position` again, or it no longer has it.

    per_second: units of the position in a second. overlap: in units of the position.
    newest_first: the answer begins with the stored posts, newest first. Until the feed has sent all, the position stays
        where it was: a connection that ends before asks for all of them again. The oldest one shows whether there is a
        gap: the server sends the post at `position` again, if it still has it and does not cut the answer before it.
    """

    next = NO_NUMBER
    step = 0
    numbering = ""
    waiting = False

    def __init__(self, per_second: int, overlap: int, progress: FeedState, *, newest_first: bool = False) -> None:
        self.position = progress.position
        self._per_second = per_second
        self._tolerance = GAP_TOLERANCE_SECONDS * per_second
        self._newest_first = newest_first
        self.replaying = False
        self._overlap = overlap
        self._recent = {identity: position for position, identity in progress.recent}
        self._resumed = self._live = False
        # The newest timestamp of a frame. After a skipped frame the position is ahead of it.
        self._seen = 0
        # The oldest timestamp of the stored posts.
        self._oldest: int | None = None
        self.on_subscribed(True)

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        return tuple((position, identity) for identity, position in self._recent.items())

    def on_subscribed(self, resumed: bool) -> None:
        self._resumed = resumed and self.position is not None
        self._live = not resumed and self.position is not None
        self.replaying = self._newest_first and self.position is not None
        self._oldest = None

    def on_replayed(self) -> Gap | None:
        last, oldest = self.position, self._oldest
        gap = None
        asked = self.replaying and self._resumed
        if asked and last is not None and (oldest is None or oldest > last + self._tolerance):
            lost = None if oldest is None else oldest - last
            gap = Gap("", last, oldest, lost, 0, GAP_EXPIRED, self._ms(last if oldest is None else oldest))
        self.replaying = self._resumed = False
        if self._seen:
            self.position = max(self.position or 0, self._seen)
        return gap

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        if event.position is None:
            return [Accepted(event, frame)]
        at = event.position
        if at > self._units(frame.received + MAX_AHEAD_MS):
            # The clock of the server or of this machine is wrong: no server could resume from this position.
            return self._unless_known(event, frame, at)
        if self.replaying:
            self._oldest = at if self._oldest is None else min(self._oldest, at)
            self._seen = max(self._seen, min(at, self._units(frame.received)))
            return self._unless_known(event, frame, at)
        if self._resumed and self.position is not None and at < self.position - self._overlap:
            return [Duplicate(at)] if isinstance(event, Post) else []
        if isinstance(event, Post) and event.id in self._recent:
            if self.position is None or at <= self.position:  # the answer continues where the last one ended
                self._resumed = self._live = False
            return [Duplicate(at)]
        decisions: list[Decision] = [gap] if (gap := self._gap(at)) else []
        self._resumed = self._live = False
        # The position never passes the time of arrival. So a server's clock that is ahead only extends the overlap.
        self._seen = max(self._seen, min(at, self._units(frame.received)))
        self.position = max(self.position or 0, self._seen)
        return decisions + self._unless_known(event, frame, at)

    def reject(self) -> None:
        pass

    def skip(self, why: str) -> Gap | None:
        """Advance the position past the frame, whose position is unknown. Other posts in this range can be lost."""
        last = self.position
        if last is None:
            return None
        self.position = last + self._overlap + self._tolerance
        return Gap("", last, self.position, self.position - last, 0, why, 0)

    def forget(self) -> None:
        """Keep the ids of twice the overlap, because the servers' clocks differ."""
        if self.position is not None:
            oldest = min(self.position, self._seen) - 2 * self._overlap
            self._recent = {identity: at for identity, at in self._recent.items() if at >= oldest}
        if len(self._recent) > MAX_RECENT:
            self._recent = dict(list(self._recent.items())[-MAX_RECENT:])

    def _gap(self, at: int) -> Gap | None:
        """The gap before the first frame of an answer, if there is one."""
        last = self.position
        if last is None:
            return None
        if self._live and at <= last:
            return Gap("", last, None, None, 0, f"{GAP_LIVE_START}, and its clock is behind", self._ms(at))
        if self._live or (self._resumed and at > last + self._tolerance and not self._newest_first):
            why = GAP_LIVE_START if self._live else GAP_EXPIRED
            return Gap("", last, at, at - last, 0, why, self._ms(at))
        return None

    def _units(self, milliseconds: int) -> int:
        return milliseconds * self._per_second // 1_000

    def _ms(self, position: int) -> int:
        return position * 1_000 // self._per_second

    def _unless_known(self, event: Post | Ignored, frame: Frame, at: int) -> list[Decision]:
        if isinstance(event, Ignored):
            return [Accepted(event, frame)]
        if event.id in self._recent:
            return [Duplicate(at)]
        self._recent[event.id] = at
        if self.position is None or at > self.position:  # the record must hold the position to resume from
            event = event._replace(position=self.position)
        return [Accepted(event, frame)]
