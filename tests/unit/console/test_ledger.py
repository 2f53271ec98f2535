"""The day of a feed."""

from console.ledger import DAY_SECONDS, ledger_of
from console.observations import FeedEvent
from tests.unit.console.examples import NOW, lost


def event(what: str, hours_ago: float, source: str = "simulator", **details: str) -> FeedEvent:
    return FeedEvent(what, NOW - hours_ago * 3_600, source, "ws://feed", details)


def test_periods_cover_the_day_from_the_first_event_on() -> None:
    events = [event("started", 12), event("connected", 12), event("disconnected", 6), event("refused", 3)]
    (ledger,) = ledger_of(events, NOW)
    assert [(period.state, period.begin, period.width) for period in ledger.periods] == [
        ("connected", 0.5, 0.25),
        ("reconnecting", 0.75, 0.125),
        ("refused", 0.875, 0.125),
    ]


def test_a_loss_has_a_mark_and_an_entry_with_its_range() -> None:
    (ledger,) = ledger_of([event("connected", 12), lost(NOW - DAY_SECONDS / 4)], NOW)
    assert ledger.losses == [0.75]
    assert ledger.entries[0].text == "positions 5 to 9, 5 lost: gone"
    assert [entry.what for entry in ledger.entries] == ["lost", "connected"]


def test_each_feed_has_a_ledger_of_its_own() -> None:
    ledgers = ledger_of([event("connected", 2, "b"), event("connected", 1, "a")], NOW)
    assert [ledger.source for ledger in ledgers] == ["a", "b"]


def test_a_loss_of_unknown_size_says_so() -> None:
    (ledger,) = ledger_of([FeedEvent("lost", NOW, "text", "", {"why": "the feed cannot resume", "seconds": "4"})], NOW)
    assert ledger.entries[0].text == "unknown size: the feed cannot resume"
