"""Counts posts by their numbers, wherever they were read."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from jobs.cleaning import clean
from simulator.posts import post_text
from simulator.twitter_stream_simulator import Settings

SEED = Settings().seed


def numbers(posts: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of these posts, sorted."""
    return sorted(int(post["id"].removeprefix("simulator-")) for post in posts)


def assert_complete(found: Sequence[int], last: int) -> None:
    """Every number from the first to `last` is there once."""
    twice = [number for number, count in Counter(found).items() if count > 1]
    missing = sorted(set(range(found[0], last + 1)) - set(found))
    assert not twice, f"{len(twice)} numbers came twice, the first is {twice[0]}"
    assert not missing, f"{len(missing)} of {len(found)} numbers are missing, from {missing[0]} to {missing[-1]}"


def expected_texts(first: int, last: int) -> list[str]:
    """What comes of the simulator's posts with these numbers once they are cleaned, sorted."""
    return sorted(clean(post_text(SEED, number)) for number in range(first, last + 1))
