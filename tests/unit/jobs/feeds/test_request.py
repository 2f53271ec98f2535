"""The requests of a feed, and the secrets in them."""

from typing import Any

import pytest

from jobs.feeds.model import Position, Shard
from jobs.feeds.request import Request, unused
from jobs.redaction import redact_text, redact_url
from tests.unit.jobs.feeds.samples import FULL, PLAIN, TIMED, changed, feed

ONE = Shard()
FILES = {"/run/token": "s3cret/+ token", "/run/other": 'an"other'}
DENSE = changed(
    PLAIN,
    ("connect", {"urls": ["ws://a"], "shards": "part"}),
    ("position", {"path": "seq", "dense": True, "numbering": "feed"}),
    ("resume", {"query": {"since": "${position}", "feed": "${numbering}", "x": "a${position}b"}}),
)


def request(mapping: dict[str, Any], base: str = "ws://a", at: Position | None = None, shard: Shard = ONE) -> Request:
    return feed(mapping).request(base, at, shard, FILES.__getitem__)


def test_a_request_with_everything() -> None:
    found = request(FULL, "wss://a.example/ws?token=${file:/run/token}&x=1")
    assert found == Request(
        "wss://a.example/ws?token=s3cret/%2B+token&x=1&format=json",
        (("Authorization", "Bearer s3cret/+ token"),),
        ("v1.json",),
        ('{"subscribe": "posts"}',),
        '{"ping": 1}',
        "http://proxy.example:3128",
        (FILES["/run/token"], FILES["/run/token"]),
    )


def test_a_plain_feed_asks_for_the_address_as_it_is() -> None:
    assert request(PLAIN, "ws://a/b?c=d&c=%20#") == Request("ws://a/b?c=d&c=%20#")


@pytest.mark.parametrize(
    ("at", "shard", "query"),
    [
        (None, Shard(), ""),
        (None, Shard(1, 2), "/?part=1/2"),
        (Position(0), Shard(), "/?since=0&x=a0b"),  # a parameter without a value is left out
        (Position(7, "n/1"), Shard(), "/?since=7&feed=n/1&x=a7b"),
        (Position(7, "n&1"), Shard(0, 2), "/?part=0/2&since=7&feed=n%261&x=a7b"),
    ],
)
def test_a_position_in_the_query(at: Position | None, shard: Shard, query: str) -> None:
    assert request(DENSE, at=at, shard=shard).url == f"ws://a{query}"


@pytest.mark.parametrize(
    ("unit", "overlap", "at", "asked"),
    [
        ("ms", 5, 10_000, 5_000),
        ("ms", 5, 4_999, 0),
        ("ms", 0, 7, 7),
        ("s", 2, 10, 8),
        ("us", 0.5, 1_000_000, 500_000),
        ("ns", 1, 3_000_000_000, 2_000_000_000),
    ],
)
def test_a_time_is_asked_for_with_its_overlap(unit: str, overlap: float, at: int, asked: int) -> None:
    mapping = changed(TIMED, ("position/unit", unit), ("resume/overlap", overlap))
    assert request(mapping, at=Position(at)).url == f"ws://a/?since={asked}"


def test_a_position_in_the_opening_message() -> None:
    mapping = changed(
        TIMED,
        ("open", {"send": ["hello", '{"live": true}']}),
        ("resume", {"send": ['{"since": ${position}, "key": "${file:/run/other}"}', "go"], "overlap": 5}),
    )
    assert request(mapping).messages == ("hello", '{"live": true}')
    assert request(mapping, at=Position(9_000)).messages == ('{"since": 4000, "key": "an"other"}', "go")
    assert request(mapping, at=Position(9_000)).url == "ws://a"
    assert request(mapping, at=Position(9_000)).secrets == ('an"other',)


def test_a_request_does_not_show_what_is_in_it() -> None:
    found = request(FULL, "wss://a/${file:/run/token}")
    for shown in (repr(found), str(found), f"{found!s:>9}"):
        assert "s3cret" not in shown
        assert "a.example" not in shown
    assert "s3cret" not in repr(feed(FULL).definition)


def test_a_request_that_is_only_shown_reads_no_file() -> None:
    assert feed(FULL).request("ws://a", None, Shard(), unused).headers == (("Authorization", "Bearer ***"),)


@pytest.mark.parametrize(
    "quoted",
    [
        "no such user: s3cret/+ token",
        "Authorization: Bearer s3cret/+ token",
        "/ws?token=s3cret%2F%2B%20token",
        "GET /ws?token=s3cret%2F%2B+token&x=1",
        "GET /ws?token=s3cret/%2B+token&x=1",
        'cannot read {"key": "an\\"other"}',
        "cannot read &quot;an&quot;other&quot;",
        "see https://help.example/?token=s3cret%2F%2B%20token",
    ],
)
def test_the_content_of_a_file_is_hidden_in_what_a_server_says(quoted: str) -> None:
    shown = redact_text(quoted, "wss://a/?token=${file:/run/token}", tuple(FILES.values()))
    assert "s3cret" not in shown
    assert "other" not in shown


def test_the_content_of_a_file_is_hidden_in_the_address_that_is_shown() -> None:
    found = request(FULL, "wss://a/ws?feed=${file:/run/token}")
    assert redact_url(found.url, found.secrets) == "wss://a/ws?feed=***&format=json"
