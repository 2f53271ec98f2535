"""The last quarter of an hour of each number, in memory of a fixed size."""

from collections import deque

SECONDS = 900
STEP_SECONDS = 5
POINTS = SECONDS // STEP_SECONDS


class Series:
    """The last POINTS values of a number, one for each STEP_SECONDS. None where it was unknown."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, float | None]] = deque(maxlen=POINTS)

    def add(self, now: float, value: float | None) -> None:
        """Add a value; within one step the newest value counts."""
        step = int(now // STEP_SECONDS)
        if self._points and self._points[-1][0] == step:
            self._points.pop()
        self._points.append((step, value))

    def points(self, now: float) -> list[float | None]:
        """POINTS values, the oldest first; None for steps without a value."""
        newest = int(now // STEP_SECONDS)
        known = dict(self._points)
        return [known.get(step) for step in range(newest - POINTS + 1, newest + 1)]


class Rate:
    """The growth of a total per second, over the last seconds. A total that fell has started again from zero."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._totals: deque[tuple[float, float]] = deque(maxlen=256)

    def add(self, at: float, total: float | None) -> float | None:
        """The rate, with the total of this time; None while it is unknown."""
        if total is None:
            self._totals.clear()
            return None
        if self._totals and total < self._totals[-1][1]:
            self._totals.clear()
        if not self._totals or at > self._totals[-1][0]:
            self._totals.append((at, total))
        while len(self._totals) > 2 and self._totals[1][0] <= at - self._seconds:
            self._totals.popleft()
        (first_at, first), (last_at, last) = self._totals[0], self._totals[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None
