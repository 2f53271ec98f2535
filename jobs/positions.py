"""Which frame of a feed is the next one, which is known already, and which one shows a gap. No I/O.

There is one policy for each kind of position: time stamps and none are here, contiguous numbers in contiguous.py.
"""

from typing import NamedTuple, Protocol

from jobs.event_time import MAX_AHEAD_MS
from jobs.feeds import Ignored, Post
from jobs.records import FeedState, Frame

# Servers of one feed stamp the same event a little differently; less than this is no gap.
GAP_TOLERANCE_US = 1_000_000
# So many ids are remembered at most, where a server's clock or the own one is wrong and they never grow old.
MAX_RECENT = 50_000
GAP_EXPIRED = "the server no longer has them"
GAP_LIVE_START = "the collector began live"
NO_NUMBER = -1


class Accepted(NamedTuple):
    """A new frame, in its place in the order."""

    event: Post | Ignored
    frame: Frame


class Duplicate(NamedTuple):
    """A post that the feed sent twice."""

    position: int | None


class Invalid(NamedTuple):
    """A frame whose number cannot be right."""

    frame: Frame
    reason: str


class Gap(NamedTuple):
    """Positions from `first` to `last` that the feed did not deliver.

    last, lost: None when it is unknown how many they are; rejected: how many of them were rejected frames, the others
    are `lost`; until: the feed's time behind the gap, in ms.
    """

    numbering: str
    first: int | None
    last: int | None
    lost: int | None
    rejected: int
    why: str
    until: int


Step = Accepted | Duplicate | Invalid | Gap


class Order(Protocol):
    """The order of a shard's frames: a policy and its state.

    next: the number of the frame that may be taken without a thought, by setting `position` and adding `step`, or
    NO_NUMBER; position, numbering: of the last frame that was accepted; waiting: whether a frame is held back.
    """

    next: int
    step: int
    position: int | None
    numbering: str

    @property
    def waiting(self) -> bool: ...

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        """What `FeedState.recent` holds."""

    def on_subscribed(self, resumed: bool) -> None:
        """The feed was asked, after `position` or (resumed=False) live; what comes from now on is its answer."""

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Step]:
        """What is to be done now that this frame has come. newest: event time of the newest post in ms."""

    def reject(self) -> None:
        """A frame came whose position cannot be read."""

    def skip(self, why: str) -> int | Gap | None:
        """Step over the next frame, which cannot be received: its number, or the gap that this leaves, or None."""

    def forget(self) -> None:
        """Drop what is too old to be sent twice. Called now and then."""


class NoOrder:
    """The order of a feed without positions: as it comes."""

    next = NO_NUMBER
    step = 0
    position: int | None = None
    numbering = ""
    waiting = False
    recent: tuple[tuple[int, str], ...] = ()

    def on_subscribed(self, resumed: bool) -> None:
        pass

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Step]:  # noqa: ARG002
        return [Accepted(event, frame)]

    def reject(self) -> None:
        pass

    def skip(self, why: str) -> None:  # noqa: ARG002
        return None

    def forget(self) -> None:
        pass


class TimestampOrder:
    """The order of a feed whose positions are moments in microseconds, by the clock of whichever server is asked.

    Such a feed is asked again from a while back, `overlap`, and posts are known by their ids. The first frame of an
    answer shows whether there is a gap: the server sends the frame at `position` again, or has it no longer.
    """

    next = NO_NUMBER
    step = 0
    numbering = ""
    waiting = False

    def __init__(self, overlap: int, progress: FeedState) -> None:
        self.position = progress.position
        self._overlap = overlap
        self._recent = {identity: position for position, identity in progress.recent}
        self._resumed = self._live = False
        # The newest moment of a frame; the position is ahead of it behind a frame that was stepped over.
        self._seen = 0
        self.on_subscribed(True)

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        return tuple((position, identity) for identity, position in self._recent.items())

    def on_subscribed(self, resumed: bool) -> None:
        self._resumed = resumed and self.position is not None
        self._live = not resumed and self.position is not None

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Step]:  # noqa: ARG002
        at = event.position or 0
        if at > (frame.received + MAX_AHEAD_MS) * 1000:
            # This server's clock is wrong, or that of this machine: nobody could be asked to go on after this.
            return self._unless_known(event, frame, at)
        if self._resumed and self.position is not None and at < self.position - self._overlap:
            return [Duplicate(at)] if isinstance(event, Post) else []
        if isinstance(event, Post) and event.id in self._recent:
            if self.position is None or at <= self.position:  # the answer goes on where the last one broke off
                self._resumed = self._live = False
            return [Duplicate(at)]
        steps: list[Step] = [gap] if (gap := self._gap(at)) else []
        self._resumed = self._live = False
        # A clock that is ahead costs only a longer overlap: a frame moves the position no further than its arrival.
        self._seen = max(self._seen, min(at, frame.received * 1000))
        self.position = max(self.position or 0, self._seen)
        return steps + self._unless_known(event, frame, at)

    def reject(self) -> None:
        pass

    def skip(self, why: str) -> Gap | None:
        """The frame is somewhere behind the position: what follows within the tolerance is given up with it."""
        last = self.position
        if last is None:
            return None
        self.position = last + self._overlap + GAP_TOLERANCE_US
        return Gap("", last, self.position, self.position - last, 0, why, 0)

    def forget(self) -> None:
        """Keep the ids of twice the overlap: the servers' clocks differ."""
        if self.position is not None:
            oldest = min(self.position, self._seen) - 2 * self._overlap
            self._recent = {identity: at for identity, at in self._recent.items() if at >= oldest}
        if len(self._recent) > MAX_RECENT:
            self._recent = dict(list(self._recent.items())[-MAX_RECENT:])

    def _gap(self, at: int) -> Gap | None:
        """The gap that the first frame of an answer shows."""
        last = self.position
        if last is None:
            return None
        if self._live and at <= last:
            return Gap("", last, None, None, 0, f"{GAP_LIVE_START}, and its clock is behind", at // 1000)
        if self._live or (self._resumed and at > last + GAP_TOLERANCE_US):
            why = GAP_LIVE_START if self._live else GAP_EXPIRED
            return Gap("", last, at, at - last, 0, why, at // 1000)
        return None

    def _unless_known(self, event: Post | Ignored, frame: Frame, at: int) -> list[Step]:
        if isinstance(event, Ignored):
            return [Accepted(event, frame)]
        if event.id in self._recent:
            return [Duplicate(at)]
        self._recent[event.id] = at
        if self.position is None or at > self.position:  # where the feed is to be asked again
            event = event._replace(position=self.position)
        return [Accepted(event, frame)]
