"""The day of a feed."""

from itertools import pairwise

import pytest

from console.ledger import DAY_SECONDS, INCIDENTS, PERIODS, RECORDS, ledger_of
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


def test_a_loss_has_a_mark_and_an_incident_with_its_range() -> None:
    (ledger,) = ledger_of([event("connected", 12), lost(NOW - DAY_SECONDS / 4)], NOW)
    loss, connected = ledger.incidents
    assert (loss.kind, loss.text, connected.kind) == ("lost", "positions 5 to 9, 5 lost: gone", "connected")
    assert [(mark.kind, mark.at, mark.incident) for mark in ledger.marks] == [("lost", 0.75, loss.id)]
    assert {"first position": "5", "last position": "9"}.items() <= dict(loss.facts).items()
    assert ([each.what for each in loss.records], ledger.losses) == (["lost"], 1)


def test_behind_a_loss_are_the_records_of_the_outage() -> None:
    hour = 3_600
    events = [
        event("connected", 12),
        event("disconnected", 6, reason="closed"),
        event("refused", 5.5, reason="503"),
        event("resumed", 5, position="a/4"),
        lost(NOW - 5 * hour + 1),
        lost(NOW - 3 * hour),
    ]
    (ledger,) = ledger_of(events, NOW)
    found = {
        (each.kind, round((NOW - each.at) / hour, 1)): [it.what for it in each.records] for each in ledger.incidents
    }
    assert found == {
        ("lost", 3.0): ["lost"],
        ("lost", 5.0): ["disconnected", "refused", "resumed", "lost"],
        ("replayed", 5.0): ["disconnected", "refused", "resumed"],
        ("refused", 5.5): ["refused", "resumed"],
        ("reconnecting", 6.0): ["disconnected", "refused"],
        ("connected", 12.0): ["connected"],
    }
    replayed = next(each for each in ledger.incidents if each.kind == "replayed")
    assert dict(replayed.facts) == {"from position": "a/4", "without a connection before": "3,600 s"}
    assert (replayed.until, ledger.incidents[3].seconds) == (None, hour / 2)


def test_each_period_and_each_mark_leads_to_its_incident() -> None:
    events = [event("connected", 3), event("silent", 2), event("resumed", 1), lost(NOW - 3_500)]
    (ledger,) = ledger_of(events, NOW)
    kinds = {incident.id: incident.kind for incident in ledger.incidents}
    assert [(each.state, kinds[each.incident]) for each in ledger.periods] == [
        ("connected", "connected"),
        ("silent", "silent"),
        ("connected", "replayed"),
    ]
    assert [(each.kind, kinds[each.incident]) for each in ledger.marks] == [("replayed", "replayed"), ("lost", "lost")]


def test_a_restless_feed_does_not_make_the_page_long() -> None:
    events = [event("disconnected" if at % 2 else "connected", 20 - at / 200) for at in range(2_000)]
    (ledger,) = ledger_of(events, NOW)
    assert (len(ledger.incidents), len(ledger.periods) <= 2 * PERIODS) == (INCIDENTS, True)
    ends = [(each.begin, each.begin + each.width) for each in ledger.periods]
    assert all(end == pytest.approx(begin) for (_, end), (begin, _) in pairwise(ends))
    assert ends[-1][1] == pytest.approx(1)
    reasons = [event("refused", 2 - at / 100) for at in range(100)]
    assert len(ledger_of(reasons, NOW)[0].incidents[0].records) == RECORDS


def test_each_feed_has_a_ledger_of_its_own() -> None:
    ledgers = ledger_of([event("connected", 2, "b"), event("connected", 1, "a")], NOW)
    assert [ledger.source for ledger in ledgers] == ["a", "b"]


def test_a_loss_of_unknown_size_says_so() -> None:
    (ledger,) = ledger_of([FeedEvent("lost", NOW, "text", "", {"why": "the feed cannot resume", "seconds": "4"})], NOW)
    assert ledger.incidents[0].text == "unknown size: the feed cannot resume"
