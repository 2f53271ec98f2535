"""Stops a collector that rejects nearly everything: then the feed's definition is wrong, or the server is. No I/O."""

# So many frames are compared with the limit. The share of fewer says little.
FRAMES = 1_000


class RejectedShare:
    """The share of rejected frames among each FRAMES frames. limit: above this share the collector stops; 1: never."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._frames = self._rejected = 0

    def is_above(self, frames: int, rejected: int) -> bool:
        """Whether the collector stops after these further frames, of which `rejected` were rejected."""
        self._frames += frames
        self._rejected += rejected
        if self._frames < FRAMES:
            return False
        above = self._rejected > self._limit * self._frames
        self._frames = self._rejected = 0
        return above
