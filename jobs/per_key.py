"""The order policy of a feed in which each key has numbers of its own, without gaps. No I/O."""

from jobs.contiguous import ContiguousOrder
from jobs.feeds.model import Ignored, Post, Shard
from jobs.positions import NO_NUMBER, Accepted, Decision
from jobs.records import FeedState, Frame

# The most keys that are kept. The one whose last post is the oldest is dropped first.
MAX_KEYS = 10_000


class PerKeyOrder:
    """The order of all keys: a ContiguousOrder for each.

    Such a feed cannot resume: each connection begins live, so the first number of a known key shows what is missing.
    FeedState.recent has the last number of each key.
    """

    next = NO_NUMBER
    step = 0
    position: int | None = None
    numbering = ""
    replaying = False

    def __init__(self, progress: FeedState) -> None:
        # In the order of the last post, the oldest first.
        self._orders = {key: self._order(key, number) for number, key in progress.recent}
        self.on_subscribed(False)

    @staticmethod
    def _order(key: str, number: int | None) -> ContiguousOrder:
        return ContiguousOrder(Shard(), FeedState(numbering=key, position=number))

    @property
    def waiting(self) -> bool:
        return any(order.waiting for order in self._orders.values())

    @property
    def recent(self) -> tuple[tuple[int, str], ...]:
        return tuple((order.position, key) for key, order in self._orders.items() if order.position is not None)

    def on_subscribed(self, resumed: bool) -> None:
        for order in self._orders.values():
            order.on_subscribed(resumed)

    def place(self, event: Post | Ignored, frame: Frame, newest: int) -> list[Decision]:
        if not isinstance(event, Post):
            return [Accepted(event, frame)]
        key = event.numbering
        # The key becomes the newest one.
        order = self._orders.pop(key, None) or self._order(key, None)
        self._orders[key] = order
        if len(self._orders) > MAX_KEYS:
            del self._orders[next(iter(self._orders))]
        return order.place(event, frame, newest)

    def reject(self) -> None:
        """The frame's key is unknown: the missing number is reported when the key's next post comes."""

    def skip(self, why: str) -> None:
        """The key of the frame is unknown, too."""
        return

    def on_replayed(self) -> None:
        pass

    def forget(self) -> None:
        pass
