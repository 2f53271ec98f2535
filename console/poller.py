"""Reads each source in a thread of its own. A source that does not answer never stops another one."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from console.observations import Answer

log = logging.getLogger(__name__)


class Source(Protocol):
    def read(self) -> object:
        """An observation. Raises any error for a source that does not answer."""


# While nobody looks, a source is not read more often: each reading costs Flink and Kafka processor time.
UNSEEN_SECONDS = 5.0
# Without JavaScript, the page loads itself every ten seconds.
LOOK_SECONDS = 15.0


class Poller:
    """The newest answers of all sources.

    interval: seconds between two readings of a source while somebody looks. intervals: those of some sources.
    clock: seconds since 1970 UTC. unseen: seconds between two readings while nobody looks.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        interval: float = 1.0,
        clock: Callable[[], float] = time.time,
        intervals: Mapping[str, float] = {},
        unseen: float = UNSEEN_SECONDS,
    ) -> None:
        self._answers = {name: Answer() for name in sources}
        self._interval = interval
        self._intervals = intervals
        self._clock = clock
        self._unseen = unseen
        self._looked_at = -LOOK_SECONDS  # by the monotonic clock
        # Grows with each answer that differs from the one before.
        self.version = 0
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, source), name=f"source-{name}", daemon=True)
            for name, source in sources.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> None:
        """Somebody looks at the answers: for LOOK_SECONDS, they are read at their intervals."""
        self._looked_at = time.monotonic()

    def answers(self) -> Mapping[str, Answer]:
        return dict(self._answers)

    def _run(self, name: str, source: Source) -> None:
        while not self._stopping.is_set():
            before = self._answers[name]
            try:
                answer = Answer(source.read(), self._clock())
            except Exception as error:  # noqa: BLE001 - whatever a source raises, the page shows that it does not answer
                # Only the type: the text may hold an address with a password.
                kind = type(error).__name__
                since = before.failing_since or self._clock()
                if not before.error:
                    log.warning("%s does not answer: %s", name, kind)
                answer = Answer(before.value, before.at, kind, since)
            self._answers[name] = answer
            if (answer.value, answer.error) != (before.value, before.error):
                self.version += 1  # two threads may count as one: it differs all the same
            self._await_next(self._intervals.get(name, self._interval))

    def _await_next(self, interval: float) -> None:
        read_at = time.monotonic()
        while not self._stopping.wait(interval):
            now = time.monotonic()
            if now - self._looked_at < LOOK_SECONDS or now - read_at >= self._unseen:
                return
