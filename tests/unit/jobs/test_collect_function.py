"""How the collector reads Flink's state, and the end of the topic without it; and how it hands records to Flink."""

import json

import pytest
from pyflink.common import Row
from pyflink.fn_execution.coders import from_type_info

from jobs.collect_function import BATCHES, as_rows, first_progress, interval_ms, restored_progress
from jobs.feeds.model import Shard
from jobs.records import Batch, FeedState, Record
from jobs.settings import read_collector_settings

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


NOW = 1_767_225_600_000


def record(identity: str, at: int, position: int, text: str | None) -> bytes:
    value = {"id": identity, "text": text, "timestamp": at, "source": "jetstream", "position": f"{position * 1_000}"}
    return json.dumps({**value, "shard": "0/1"} if text is None else value).encode()


@pytest.mark.parametrize(("quiet_ms", "reads"), [(0, 1), (5_000, 1), (5_001, 2), (3_600_000, 2)])
def test_the_newest_ids_are_known_after_a_quiet_time(
    monkeypatch: pytest.MonkeyPatch, quiet_ms: int, reads: int
) -> None:
    """The broker gives the records that are at most `look_back_ms` older than the newest one."""
    topic = [(NOW - ago, record(f"post-{ago}", NOW - ago, NOW - ago, "a post")) for ago in (20_000, 4_000, 0)]
    topic += [(NOW + at, record("heartbeat-0", NOW + at, NOW, None)) for at in range(0, quiet_ms + 1, 1_000)]
    topic.append((NOW + quiet_ms, record("heartbeat-0", NOW + quiet_ms, NOW, None)))
    asked: list[int] = []

    def newest_values(_settings: object, _password: str, look_back_ms: int) -> list[bytes]:
        asked.append(look_back_ms)
        return [value for at, value in topic if at >= topic[-1][0] - look_back_ms]

    monkeypatch.setattr("jobs.collect_function.newest_values_patiently", newest_values)
    progress = first_progress(read_collector_settings({"FEED": "jetstream-v1"}), Shard(), "")
    assert (progress.position, progress.timestamp) == (NOW * 1_000, NOW + quiet_ms)
    assert {identity for _, identity in progress.recent} >= {"post-4000", "post-0"}
    assert asked[0] == 10_000
    assert len(asked) == reads


def test_timers_come_seldom_while_few_records_come() -> None:
    assert interval_ms(0) == interval_ms(20) > interval_ms(1_000)
    assert interval_ms(0) < 100  # no record waits for longer


def test_records_pass_through_the_coder_of_flink_as_they_are() -> None:
    settings = read_collector_settings({})
    posts = [Record("a-1", b'{"text":"\xf0\x9f\x8c\x8d\t"}'), Record("a-2", b"")]
    rows = list(as_rows(Batch(posts=posts, events=[Record("a", b"{}")]), settings))
    assert rows == [
        Row(settings.topic, [(b"a-1", posts[0].value), (b"a-2", b"")]),
        Row(settings.events_topic, [(b"a", b"{}")]),
    ]
    coder = from_type_info(BATCHES).get_impl()
    assert [list(coder.decode(coder.encode(row))) for row in rows] == list(map(list, rows))
