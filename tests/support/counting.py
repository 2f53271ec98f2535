"""Checks by their numbers that posts are complete, wherever they were read."""

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
class Feed:
    """The posts that the simulator sends at a rate (posts per second), and their windows."""

    rate: float
    window_seconds: int

    @property
    def schedule(self) -> PostSchedule:
        return PostSchedule(SIMULATOR.epoch, self.rate)

    def numbers_of_window(self, end: str, first: int, final: int | None = None) -> tuple[int, int]:
        """First and last number with a timestamp in the window, none before `first` and none after `final`.

        end: the end of the window, ISO 8601
        """
        schedule = self.schedule
        begin_ms, end_ms = (unix(end) - self.window_seconds) * 1000, unix(end) * 1000
        low, high = schedule.newest(begin_ms / 1000) - 2, schedule.newest(end_ms / 1000) + 2
        high = high if final is None else min(high, final)
        inside = [n for n in range(max(first, low), high + 1) if begin_ms <= schedule.timestamp_ms(n) < end_ms]
        return inside[0], inside[-1]

    def complete_end(self, ends: Iterable[str]) -> str:
        """The end of the last window before the first one that is not among `ends` (ISO 8601); "" without any.

        Several tasks write documents, so a window may be seen before an earlier one.
        """
        known = {unix(end) for end in ends}
        end = min(known, default=0)
        while end + self.window_seconds in known:
            end += self.window_seconds
        return iso(end) if end else ""

    def assert_exact(
        self, found: Sequence[int], stored: Mapping[str, Sequence[Sequence[str]]], final: int | None = None
    ) -> None:
        """Assert that topic and documents have exactly the simulator's numbers, up to `complete_end`.

        found: the numbers in the topic, sorted
        stored: the contents of the documents, by the end of their window, ISO 8601
        final: the last number that exists

        The caller has waited until `complete_end` is later than what it tests.
        """
        complete = self.complete_end(stored)
        # A transaction becomes visible partition by partition: only windows that have a document are complete.
        _, last = self.numbers_of_window(complete, found[0], final)
        assert_complete([number for number in found if number <= last], last)
        for end, chunks in sorted(each for each in stored.items() if each[0] <= complete):
            assert len(chunks) == 1, f"{len(chunks)} documents for the window that ends at {end}"
            expected = expected_texts(*self.numbers_of_window(end, found[0], final))
            assert sorted(chunks[0]) == expected, f"window {end}"


def numbers(posts: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of these posts, sorted."""
    return sorted(int(post["id"].rpartition("-")[2]) for post in posts)


def assert_complete(found: Sequence[int], last: int) -> None:
    """Assert that every number from the first to `last` is there once."""
    twice = [number for number, count in Counter(found).items() if count > 1]
    missing = sorted(set(range(found[0], last + 1)) - set(found))
    assert not twice, f"{len(twice)} numbers came twice, the first is {twice[0]}"
    assert not missing, f"{len(missing)} of {len(found)} numbers are missing, from {missing[0]} to {missing[-1]}"


def expected_texts(first: int, last: int) -> list[str]:
    """The cleaned texts of the simulator's posts with these numbers, sorted."""
    return sorted(clean(post_text(SIMULATOR.seed, number)) for number in range(first, last + 1))
