"""Each preset collects from a stand-in for its server, across a cut connection and a restart with the state."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.feeds.definition import Definition, load
from tests.support.feed_servers.base import FeedServer
from tests.support.feed_servers.binance import BinanceServer
from tests.support.feed_servers.collecting import Collector
from tests.support.feed_servers.jetstream import JetstreamV1, JetstreamV2
from tests.support.feed_servers.kraken import KrakenServer
from tests.support.feed_servers.mastodon import MastodonServer
from tests.support.feed_servers.nostr import NostrRelay
from tests.support.feed_servers.numbered import SimulatorServer, TextServer

READER = "jobs.websocket_reader"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    # Also the time until the end of a connection is noticed. More than Binance's 5 messages a second would be refused.
    monkeypatch.setattr(f"{READER}.PING_SECONDS", 0.25)


@contextlib.contextmanager
def collecting(feed: str | Definition, server: FeedServer, **environment: str) -> Iterator[Collector]:
    definition = load(feed) if isinstance(feed, str) else feed
    with server, Collector(definition, server, **environment) as collector:
        yield collector


def changed(preset: str, **sections: dict[str, Any]) -> Definition:
    """The preset with these keys of its sections changed."""
    feed = load(preset)
    return replace(feed, **{name: getattr(feed, name) | keys for name, keys in sections.items()})


def with_token(folder: Path, token: str) -> Definition:
    """The preset mastodon with its token in a file of the test."""
    file = folder / "token"
    file.write_text(f"{token}\n")
    assert load("mastodon").connect["headers"] == {"Authorization": "Bearer ${file:/etc/feed-secrets/mastodon/token}"}
    return changed("mastodon", connect={"headers": {"Authorization": f"Bearer ${{file:{file}}}"}})


def lost(collector: Collector) -> list[dict[str, Any]]:
    return [record for record in collector.rejected if record["code"] == "lost"]


# Feeds that resume: nothing is lost and nothing comes twice.


def resumes(collector: Collector, post: Any) -> None:
    """Posts while the collector is connected, cut off and stopped are all collected once, in order."""
    collector.until_subscribed()
    ids = [post(1), post(2)]
    collector.until_posts(2)
    collector.server.cut()
    ids += [post(3), post(4)]
    collector.until_posts(4)
    collector.until_subscribed()
    ids.append(post(5))
    collector.until_posts(5)
    collector.stop()
    collector.server.cut()
    ids += [post(6), post(7)]
    collector.start()
    collector.until_posts(7)
    collector.for_seconds(0.3)
    assert collector.ids == ids
    assert [event["event"] for event in collector.events if event["event"] != "started"] == [
        *("connected", "disconnected", "resumed", "resumed")
    ]
    assert collector.rejected == []


def test_the_simulator_resumes() -> None:
    server = SimulatorServer()
    with collecting("simulator", server) as collector:
        resumes(collector, lambda _: server.post())
    assert server.asked == ["/?format=json", *(f"/?format=json&since={at}&feed=a1" for at in (2, 5))]


def test_another_numbering_of_the_simulator_is_a_gap() -> None:
    server = SimulatorServer()
    with collecting("simulator", server) as collector:
        collector.until_subscribed()
        server.post()
        collector.until_posts(1)
        server.log.clear()
        server.feed = "b2"
        server.cut()
        collector.until(lambda: len(collector.named("connected")) == 2 and server.subscribed, "a live request")
        ids = [server.post(), server.post()]
        collector.until_posts(3)
        assert collector.ids == ["simulator-a1-1", *ids]
        assert len(lost(collector)) == 1


def test_jetstream_resumes() -> None:
    server = JetstreamV2()

    def post(number: int) -> str:
        server.other()
        return server.post(f"3mb{number}")

    with collecting("jetstream", server) as collector:
        resumes(collector, post)
        assert [session.subprotocol for session in server.sessions] == ["xrpc.v1.json"]
    assert server.asked[0] == f"{server.path}?kinds=commit&collections=app.bsky.feed.post"
    assert all("&cursor=" in path for path in server.asked[1:])
    assert server.heard == []


def test_jetstream_loses_nothing_when_the_last_post_was_deleted() -> None:
    server = JetstreamV2()
    with collecting("jetstream", server) as collector:
        collector.until_subscribed()
        first = server.post("3mb1")
        collector.until_posts(1)
        server.cut()
        server.compact("3mb1")
        second = server.post("3mb2")
        collector.until_posts(2)
        assert collector.ids == [first, second]
        assert collector.rejected == []


def test_jetstream_refuses_a_position_that_is_too_old() -> None:
    server = JetstreamV2()
    with collecting("jetstream", server) as collector:
        collector.until_subscribed()
        server.post("3mb1")
        collector.until_posts(1)
        server.cut()
        server.post("3mb2")
        server.floor = server.next_seq
        collector.until(lambda: "cursor" not in server.asked[-1] and server.subscribed, "a live request")
        third = server.post("3mb3")
        collector.until_posts(2)
        assert collector.ids[1:] == [third]
        (gap,) = collector.named("lost")
        assert (gap["first"], gap["why"]) == (1_001, "the collector began live")
        (refused,) = collector.named("refused")
        assert "CursorTooOld" in refused["reason"]
        assert len(lost(collector)) == 1


def test_jetstream_goes_on_at_a_server_whose_numbers_are_lower() -> None:
    server = JetstreamV2()
    server.next_seq = 900_000
    with collecting("jetstream", server) as collector:
        collector.until_subscribed()
        first = server.post("3mb1")
        collector.until_posts(1)
        server.log.clear()
        server.next_seq = 10
        server.cut()
        collector.until(lambda: "cursor" not in server.asked[-1] and server.subscribed, "a live request")
        ids = [first, server.post("3mb2"), server.post("3mb3")]
        collector.until_posts(3)
        assert collector.ids == ids
        (gap,) = collector.named("lost")
        assert gap["why"] == "the numbering went back to 10"
        assert any("FutureCursor" in event["reason"] for event in collector.named("disconnected"))


def test_jetstream_drops_a_slow_consumer_which_resumes() -> None:
    server = JetstreamV2()
    with collecting("jetstream", server) as collector:
        collector.until_subscribed()
        first = server.post("3mb1")
        collector.until_posts(1)
        server.reject_slow()
        second = server.post("3mb2")
        collector.until_posts(2)
        assert collector.ids == [first, second]
        (ended,) = collector.named("disconnected")
        assert "ConsumerTooSlow" in ended["reason"]


def test_jetstream_v1_resumes() -> None:
    server = JetstreamV1()

    def post(number: int) -> str:
        server.other()
        return server.post(f"3mb{number}")

    with collecting("jetstream-v1", server) as collector:
        resumes(collector, post)


def test_jetstream_v1_clamps_a_position_silently_which_is_a_gap() -> None:
    server = JetstreamV1()
    with collecting("jetstream-v1", server) as collector:
        collector.until_subscribed()
        first = server.post("3mb1")
        collector.until_posts(1)
        collector.stop()
        server.cut()
        at = server.log[0]["us"]
        server.post("3mb2")
        server.log[-1]["us"] = at + 8_000_000
        server.floor = at + 8_000_000
        # As if the collector had been away for so long that the server has forgotten the first post.
        collector.start()
        collector.until(lambda: len(collector.posts) == 2, "the second post")
        assert collector.ids[0] == first
        (gap,) = lost(collector)
        assert '"lost": 8000000' in gap["record"]


def test_nostr_resumes_except_for_notes_that_are_dated_back_far() -> None:
    relay = NostrRelay()

    def note(number: int) -> str:
        relay.note("a reaction", kind=7)
        return relay.note(f"note {number}")

    with collecting("nostr", relay) as collector:
        collector.until_subscribed()
        ids = [note(1), note(2)]
        collector.until_posts(2)
        relay.cut()
        ids += [note(3), relay.note("dated back", ago=200)]
        relay.note("dated back further than the collector asks", ago=400)
        collector.until_posts(4)
        collector.stop()
        relay.cut()
        ids.append(note(5))
        collector.start()
        collector.until_posts(5)
        collector.until_subscribed()
        ids.append(note(6))
        collector.until_posts(6)
        collector.for_seconds(0.3)
        assert sorted(collector.ids) == sorted(ids)
        assert collector.rejected == []
    assert relay.heard[0] == '["REQ","posts",{"kinds":[1],"limit":0}]'
    assert all('"since":' in message and '"limit":5000' in message for message in relay.heard[1:])


def test_nostr_begins_live_without_the_stored_notes() -> None:
    relay = NostrRelay()
    relay.note("stored", ago=5)
    with collecting("nostr", relay) as collector:
        collector.until_subscribed()
        live = relay.note("live")
        collector.until_posts(1)
        assert collector.ids == [live]


def test_a_relay_that_cuts_its_answer_at_its_limit_is_a_gap() -> None:
    relay = NostrRelay(max_limit=2)
    with collecting("nostr", relay) as collector:
        collector.until_subscribed()
        relay.note("first", ago=100)
        collector.until_posts(1)
        relay.cut()
        position = relay.log[0]["created_at"]
        relay.note("not sent", ago=60)
        newer = [relay.note("older", ago=40), relay.note("newer", ago=20)]
        collector.until_posts(3)
        collector.until(lambda: lost(collector), "the gap")
        assert collector.ids[1:] == newer[::-1]
        (gap,) = collector.named("lost")
        oldest = relay.log[-2]["created_at"]
        assert (gap["first"], gap["last"], gap["seconds"]) == (position, oldest, oldest - position)
        collector.until_subscribed()
        last = relay.note("live")
        collector.until_posts(4)
        assert collector.ids[3:] == [last]
        assert len(lost(collector)) == 1


@pytest.mark.parametrize("hangs_up", [False, True], ids=["stays", "hangs up"])
def test_a_relay_that_asks_for_a_login_is_not_asked_again(hangs_up: bool) -> None:
    relay = NostrRelay(challenge="a challenge", hangs_up=hangs_up)
    with collecting("nostr", relay) as collector:
        collector.until(lambda: collector.refused, "the refusal")
        collector.for_seconds(0.5)
        assert len(relay.asked) == 1
        (refused,) = collector.named("refused")
        assert "auth-required" in refused["reason"]


# Feeds that cannot resume: what is missing is reported.


def test_a_feed_of_text_reports_the_seconds_away() -> None:
    server = TextServer()
    with collecting("text", server) as collector:
        times_the_loss(collector, lambda _: server.post())
    assert set(server.asked) == {"/"}
    assert collector.texts == ["post 1", "post 2", "post 4", "post 6"]


def test_mastodon_reports_the_seconds_away(tmp_path: Path) -> None:
    server = MastodonServer("secret-token")
    with collecting(with_token(tmp_path, "secret-token"), server) as collector:

        def post(number: int) -> str:
            server.delete(number)
            server.update(number, "status.update")
            return server.update(number)

        times_the_loss(collector, post)
        assert collector.ids == [f"mastodon-{number}" for number in (1, 2, 4, 6)]


def times_the_loss(collector: Collector, post: Any) -> None:
    """Of six posts the third and the fifth come while nobody is connected. Both times the seconds away are reported."""
    collector.until_subscribed()
    post(1)
    post(2)
    collector.until_posts(2)
    collector.for_seconds(1.2)  # a heartbeat notes the time until which the feed was connected
    collector.server.cut()
    post(3)
    collector.until_subscribed()
    post(4)
    collector.until_posts(3)
    collector.stop()
    collector.server.cut()
    post(5)
    away = 100_000
    collector.state = collector.state._replace(seen=collector.state.seen - away)
    since = collector.state.seen
    collector.start()
    collector.until_subscribed()
    post(6)
    collector.until_posts(4)
    short, long = collector.named("lost")
    assert short["seconds"] in (1, 2)
    assert long["seconds"] == -((since - long["time"]) // 1_000)
    assert away // 1_000 <= long["seconds"] <= away // 1_000 + 10
    assert len(lost(collector)) == 2
    assert "lost" not in long


@pytest.mark.parametrize(
    ("token", "scoped", "path"),
    [
        pytest.param("another", True, "public", id="wrong token"),
        pytest.param("secret-token", False, "public", id="no scope"),
        pytest.param("secret-token", True, "everything", id="wrong stream"),
    ],
)
def test_mastodon_is_not_asked_again_when_it_refuses(tmp_path: Path, token: str, scoped: bool, path: str) -> None:
    server = MastodonServer("secret-token", scoped=scoped)
    server.path = f"/api/v1/streaming?stream={path}"
    with collecting(with_token(tmp_path, token), server) as collector:
        collector.until(lambda: collector.refused, "the refusal")
        collector.for_seconds(0.5)
        assert len(server.asked) == 1
        (refused,) = collector.named("refused")
        assert "secret-token" not in str(refused)


def test_mastodon_disconnects_who_does_not_answer_its_pings(tmp_path: Path) -> None:
    server = MastodonServer("secret-token")
    server.ping_interval = server.ping_timeout = 0.2
    with collecting(with_token(tmp_path, "secret-token"), server) as collector:
        collector.until_subscribed()
        collector.for_seconds(1)
        assert len(server.asked) == 1


def test_kraken_counts_what_its_snapshot_does_not_hold() -> None:
    server = KrakenServer()
    with collecting("kraken", server) as collector:
        ids = server.trades("BTC/USD", "ETH/USD", "BTC/USD")  # the first snapshot
        collector.until_posts(3)
        ids += server.trades("BTC/USD")
        collector.until_posts(4)
        server.cut()
        ids += [each for _ in range(50) for each in server.trades("BTC/USD", "ETH/USD")]
        collector.until_posts(104)  # the next snapshot makes all good
        assert sorted(collector.ids) == sorted(ids)
        assert lost(collector) == []
        collector.stop()
        server.cut()
        missing = [server.trades("BTC/USD")[0] for _ in range(3)]
        ids += [each for _ in range(50) for each in server.trades("BTC/USD")]
        ids += server.trades("ETH/USD")
        collector.start()
        collector.until_posts(len(ids))
        collector.for_seconds(0.3)
        assert sorted(collector.ids) == sorted(ids)
        (gap,) = collector.named("lost")
        first, last = (int(each.rpartition("-")[2]) for each in (missing[0], missing[-1]))
        assert (gap["numbering"], gap["first"], gap["last"], gap["lost"]) == ("BTC/USD", first, last, 3)


def test_kraken_answers_the_client_s_own_ping() -> None:
    server = KrakenServer()
    server.max_silence, server.heartbeat = 0.6, 0.1
    with collecting(changed("kraken", keepalive={"every": 0.2}), server) as collector:
        collector.until_subscribed()
        collector.for_seconds(2)
        assert len(server.asked) == 1
        assert server.heard.count('{"method":"ping"}') >= 3
        assert collector.counts.control > 10
        assert collector.counts.rejected == 0


def test_kraken_without_heartbeats_is_left() -> None:
    server = KrakenServer()
    server.heartbeat = 60
    feed = changed("kraken", keepalive={"max_silence": 1})
    with collecting(feed, server, MAX_SILENCE_SECONDS="1") as collector:
        collector.until(lambda: collector.named("silent"), "the end of a silent connection")


def test_kraken_is_not_asked_again_for_a_wrong_pair() -> None:
    server = KrakenServer()
    feed = load("kraken")
    feed = replace(feed, open=feed.open | {"send": [feed.open["send"][0].replace("BTC/USD", "ABC/USD")]})
    with collecting(feed, server) as collector:
        collector.until(lambda: collector.refused, "the refusal")
        collector.for_seconds(0.5)
        assert len(server.asked) == 1
        (refused,) = collector.named("refused")
        assert "Currency pair not supported ABC/USD" in refused["reason"]


def test_binance_counts_missing_trades_of_each_symbol() -> None:
    server = BinanceServer()
    with collecting("binance", server) as collector:
        collector.until_subscribed()
        ids = [server.trade(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT")]
        collector.until_posts(3)
        server.cut()
        missing = [server.trade("BTCUSDT"), server.trade("BTCUSDT")]
        collector.until_subscribed()
        ids += [server.trade(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT")]
        collector.until_posts(6)
        collector.stop()
        server.cut()
        missing.append(server.trade("ETHUSDT"))
        collector.start()
        collector.until_subscribed()
        ids += [server.trade(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT")]
        collector.until_posts(10)
        collector.for_seconds(0.3)
        assert sorted(collector.ids) == sorted(ids)
        gaps = [(gap["numbering"], gap["first"], gap["last"], gap["lost"]) for gap in collector.named("lost")]
        assert gaps == [("BTCUSDT", 9, 10, 2), ("ETHUSDT", 9, 9, 1)]
        assert missing == ["binance-BTCUSDT-9", "binance-BTCUSDT-10", "binance-ETHUSDT-9"]


def test_binance_is_left_before_it_cuts_and_gets_no_more_messages_than_it_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{READER}.PING_SECONDS", 0.5)
    server = BinanceServer()
    server.ping_interval, server.ping_timeout, server.max_age = 0.5, 1.0, 3.0
    assert load("binance").keepalive["max_age"] < BinanceServer.max_age
    with collecting(changed("binance", keepalive={"max_age": 2}), server) as collector:
        collector.until(lambda: len(server.asked) == 3 and server.subscribed, "two planned reconnects")
        assert server.ended == [1000, 1000]
        assert all("planned" in event["reason"] for event in collector.named("disconnected"))


def test_binance_is_left_when_it_announces_its_end() -> None:
    server = BinanceServer()
    with collecting("binance", server) as collector:
        collector.until_subscribed()
        server.shut_down()
        collector.until(lambda: len(server.asked) == 2 and server.subscribed, "the next connection")
        (ended,) = collector.named("disconnected")
        assert "serverShutdown" in ended["reason"]


def test_binance_refuses_streams_in_upper_case() -> None:
    server = BinanceServer()
    server.path = "/stream?streams=BTCUSDT@trade"
    with collecting("binance", server) as collector:
        collector.until(lambda: collector.named("refused"), "the refusal")
