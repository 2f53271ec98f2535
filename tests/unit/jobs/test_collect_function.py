"""How the collector reads Flink's state."""

import pytest

from jobs.collect_function import restored_progress
from jobs.feeds.model import Shard
from jobs.records import FeedState

STATE = FeedState("simulator", "1a2b3c4d", 42, 1_000, 2_000, ((41, "x"),))


def test_the_state_is_what_was_written() -> None:
    assert restored_progress((2, *STATE), Shard(1, 2)) == STATE
    assert restored_progress(None, Shard(1, 2)) is None


def test_the_state_of_another_parallelism_is_refused() -> None:
    with pytest.raises(RuntimeError, match="written by 2 shards, now there are 3"):
        restored_progress((2, *STATE), Shard(1, 3))


def test_the_state_of_an_earlier_version_is_completed() -> None:
    assert restored_progress((2, *STATE[:6]), Shard(1, 2)) == STATE
    assert restored_progress((2, *STATE[:6], 3_000), Shard(1, 2)) == STATE._replace(seen=3_000)


def test_the_state_of_another_version_is_not_used() -> None:
    assert restored_progress((1, *STATE, 8), Shard()) is None
    assert restored_progress((1, 42, 1_000, ()), Shard()) is None
