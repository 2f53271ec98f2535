"""Checks that the simulator's posts are complete and without duplicates, in a topic and in documents."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.cleaning import clean
from jobs.documents import iso, unix
from simulator.posts import PostSchedule, post_text
from simulator.twitter_stream_simulator import Settings

SIMULATOR = Settings()


@dataclass(frozen=True)
class SimulatorFeed:
    """The posts that the simulator sends at a rate (posts per second), and their windows."""

    rate: float
    window_seconds: int

    @property
    def schedule(self) -> PostSchedule:
        return PostSchedule(SIMULATOR.epoch, self.rate)

    def numbers_of_window(self, end: str, first: int, final: int | None = None) -> tuple[int, int]:
        """The first and the last number whose timestamp is in the window, from `first` to `final`.

        end: the end of the window, ISO 8601
        """
        schedule = self.schedule
        begin_ms, end_ms = (unix(end) - self.window_seconds) * 1000, unix(end) * 1000
        low, high = schedule.newest(begin_ms / 1000) - 2, schedule.newest(end_ms / 1000) + 2
        high = high if final is None else min(high, final)
        in_window = [n for n in range(max(first, low), high + 1) if begin_ms <= schedule.timestamp_ms(n) < end_ms]
        return in_window[0], in_window[-1]

    def end_of_complete_windows(self, ends: Iterable[str]) -> str:
        """The end of the last window before the first missing one; "" if `ends` is empty. ISO 8601.

        Several tasks write documents, so the document of a window may exist before that of an earlier window.
        """
        known = {unix(end) for end in ends}
        end = min(known, default=0)
        while end + self.window_seconds in known:
            end += self.window_seconds
        return iso(end) if end else ""

    def assert_exactly_once(
        self, found: Sequence[int], stored: Mapping[str, Sequence[Sequence[str]]], final: int | None = None
    ) -> None:
        """Assert that topic and documents hold each of the simulator's posts once, up to `end_of_complete_windows`.

        found: the numbers in the topic, sorted
        stored: the contents of the documents, by the end of their window, ISO 8601
        final: the last number that the simulator sends

        The caller waits until the complete windows include what it tests.
        """
        complete_until = self.end_of_complete_windows(stored)
        # Kafka commits a transaction partition by partition. So only windows that have a document are complete.
        _, last = self.numbers_of_window(complete_until, found[0], final)
        assert_complete([number for number in found if number <= last], last)
        for end, chunks in sorted(each for each in stored.items() if each[0] <= complete_until):
            assert len(chunks) == 1, f"{len(chunks)} documents for the window that ends at {end}"
            expected = expected_texts(*self.numbers_of_window(end, found[0], final))
            assert sorted(chunks[0]) == expected, f"window {end}"


def numbers(posts: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of these posts, sorted."""
    return sorted(int(post["id"].rpartition("-")[2]) for post in posts)


def assert_complete(found: Sequence[int], last: int) -> None:
    """Assert that `found` has every number from its first to `last` once."""
    duplicates = [number for number, count in Counter(found).items() if count > 1]
    missing = sorted(set(range(found[0], last + 1)) - set(found))
    assert not duplicates, f"{len(duplicates)} numbers are duplicates, the first is {duplicates[0]}"
    assert not missing, f"{len(missing)} of {len(found)} numbers are missing, from {missing[0]} to {missing[-1]}"


def expected_texts(first: int, last: int) -> list[str]:
    """The cleaned texts of the simulator's posts with these numbers, sorted."""
    return sorted(clean(post_text(SIMULATOR.seed, number)) for number in range(first, last + 1))
