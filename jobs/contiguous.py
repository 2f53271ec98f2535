"""The order policy of a feed whose posts are numbered without gaps: a missing number means a lost post. No I/O."""

from typing import NamedTuple

from jobs.feeds.model import Ignored, Position, Post, Shard
from jobs.positions import GAP_EXPIRED, GAP_LIVE_START, NO_NUMBER, Accepted, Decision, Duplicate, Gap, Invalid
from jobs.records import FeedState, Frame


class Held(NamedTuple):
    """A frame with an unexpected number. rejected: frames that were rejected between the last accepted one and this."""

    post: Post
    at: Position
    frame: Frame
    rejected: int


class EarlierShard(NamedTuple):
    """A shard of an earlier parallelism: its numbers (modulo `of` they are `number`) are known up to `position`."""

    position: int
    number: int
    of: int

    def knows(self, number: int) -> bool:
        return number <= self.position and number % self.of == self.number


class ContiguousOrder:
    """The order of one shard's numbers.

    A single number may be wrong. So a frame with an unexpected number is held until the next frame shows which of the
    two is right. A number that was accepted without a successor is unproven: a lower number behind it shows that it was
    wrong.
    """

    def __init__(self, shard: Shard, progress: FeedState) -> None:
        self.position = progress.position
        self.numbering = progress.numbering
        self.step = shard.of
        self.next = NO_NUMBER
        self._shard = shard
        self._earlier = [EarlierShard(at, *map(int, name.split("/"))) for at, name in progress.recent]
        self._held: Held | None = None
        self._suspect: Position | None = None
        self._rejected = 0
        self._live = self._unproven = False
        self.on_subscribed(True)

    replaying = False

    @property
    def waiting(self) -> bool:
        return self._held is not None

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        return tuple((shard.position, f"{shard.number}/{shard.of}") for shard in self._earlier)

    def on_subscribed(self, resumed: bool) -> None:
        if self._held is not None:  # the feed sends it again; its second occurrence is accepted
            self._suspect = self._held.at
        self._held = None
        self._rejected = 0
        self._live = not resumed and self.position is not None
        self._unproven = False
        self._settle()

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        if not isinstance(event, Post) or event.position is None:
            return []  # a contiguous feed sends no such event
        at = Position(event.position, event.numbering)
        decisions: list[Decision] = []
        if at.number % self._shard.of != self._shard.number:
            self._rejected += 1
            reason = f"number {at.number} is not of shard {self._shard.number}/{self._shard.of}"
            decisions.append(Invalid(event, frame, reason))
        else:
            known = self._is_behind(at) and not self._goes_back(event, frame, newest)
            if self._held is None or self._resolve(self._held, at, frame, known, decisions):
                self._judge(event, at, frame, known, decisions)
        self._settle()
        return decisions

    def reject(self) -> None:
        self._rejected += 1
        self.next = NO_NUMBER

    def skip(self, why: str) -> int | None:
        """Skip the next number. None: the number is unknown, or another shard has collected it already."""
        if self.position is None or self._held is not None or self._live:
            return None
        number = self.position = self._following(self.position)
        known = self._is_known_elsewhere(number)
        self._settle()
        return None if known else number

    def on_replayed(self) -> None:
        pass

    def forget(self) -> None:
        pass

    def _settle(self) -> None:
        """Set `next`: the number of the fast path, or NO_NUMBER while anything has to be checked."""
        last = self.position
        if last is not None and self._earlier:
            self._earlier = [shard for shard in self._earlier if shard.position > last]
        doubt = self._held or self._suspect or self._rejected or self._live or self._unproven or self._earlier
        self.next = NO_NUMBER if last is None or doubt else self._following(last)

    def _following(self, last: int) -> int:
        """The shard's first number above `last`."""
        return last + 1 + (self._shard.number - last - 1) % self.step

    def _resolve(self, held: Held, at: Position, frame: Frame, known: bool, decisions: list[Decision]) -> bool:
        """Accept or reject the held frame after the next one. False: the next one says nothing about the held frame."""
        if known or (at == held.at and frame.data == held.frame.data):
            self._drop(at, decisions)
            return False
        backwards = self._is_behind(held.at)
        goes_on = at.numbering == self.numbering and at.number == self._following(self.position or 0)
        goes_on |= backwards and at.numbering == self.numbering and not self._is_behind(at)
        self._held = None
        if at.numbering == held.at.numbering and at.number > held.at.number and not goes_on:
            # Its time of arrival becomes now, because the clock may have been set back.
            held_frame = held.frame._replace(received=frame.received)
            decisions += self._gap(held.post, held.at, held_frame, held.rejected)
            self._accept(held.post, held.at, held_frame, decisions)
            self._unproven = at.number != self._following(held.at.number)
        else:
            self._rejected += held.rejected + 1
            reason = f"number {held.at.number} is {'behind' if backwards else 'ahead of'} what the feed sends next"
            decisions.append(Invalid(held.post, held.frame, f"{reason}, {at.number}"))
        return True

    def _judge(self, post: Post, at: Position, frame: Frame, known: bool, decisions: list[Decision]) -> None:
        """Accept the frame, drop it as a duplicate, or hold it."""
        believed = at == self._suspect
        continues = at.numbering == self.numbering and not self._is_behind(at)
        if self.position is None:
            self._rejected = 0
            self._accept(post, at, frame, decisions)
            self._unproven = True
        elif known:
            self._drop(at, decisions)
        elif believed or (continues and self._missing(at.number) <= self._rejected):
            decisions += self._gap(post, at, frame, self._rejected)
            self._rejected = 0
            self._accept(post, at, frame, decisions)
            self._unproven = believed
        else:
            self._held = Held(post, at, frame, self._rejected)
            self._rejected = 0

    def _drop(self, at: Position, decisions: list[Decision]) -> None:
        """Drop a duplicate. The frames that were rejected before it were duplicates, too."""
        self._rejected = 0
        decisions.append(Duplicate(at.number))

    def _accept(self, post: Post, at: Position, frame: Frame, decisions: list[Decision]) -> None:
        if at.numbering != self.numbering:
            self._earlier = []
        self.position, self.numbering = at
        self._suspect = None
        self._live = self._unproven = False
        decisions.append(Duplicate(at.number) if self._is_known_elsewhere(at.number) else Accepted(post, frame))

    def _is_behind(self, at: Position) -> bool:
        return self.position is not None and at.numbering == self.numbering and at.number <= self.position

    def _is_known_elsewhere(self, number: int) -> bool:
        return any(shard.knows(number) for shard in self._earlier)

    def _goes_back(self, post: Post, frame: Frame, newest: int) -> bool:
        """Whether a low number belongs to a new post and not to a duplicate.

        A lower number shows that an unproven position was wrong. A feed whose numberings have no names can begin a new
        numbering. In a live answer a newer stamp shows that: a duplicate from a slower clock has an old stamp.
        """
        renumbered = self._live and not self.numbering and newest < post.timestamp <= frame.received
        return post.position != self.position and (self._unproven or renumbered)

    def _missing(self, number: int) -> int:
        """How many of the shard's numbers between the last one and `number` are missing."""
        first = self._following(self.position or 0)
        missing = (number - first) // self.step
        if self._earlier:
            end = min(number, max(shard.position for shard in self._earlier) + 1)
            missing -= sum(map(self._is_known_elsewhere, range(first, end, self.step)))
        return missing

    def _gap(self, post: Post, at: Position, frame: Frame, rejected: int) -> list[Decision]:
        """The gap before that frame, if there is one."""
        first, until = (self.position or 0) + 1, min(post.timestamp, frame.received)
        if at.numbering != self.numbering:
            why = f"the feed has another numbering now, {at.numbering or 'without a name'}"
            return [Gap(self.numbering, first, None, None, rejected, why, until)]
        if at.number < first:
            return [Gap(self.numbering, first, None, None, rejected, f"the numbering went back to {at.number}", until)]
        missing = self._missing(at.number)
        if not missing:
            return []
        why = GAP_LIVE_START if self._live else GAP_EXPIRED
        explained = min(missing, rejected)
        return [Gap(self.numbering, first, at.number - 1, missing - explained, explained, why, until)]
