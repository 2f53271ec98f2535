"""docs/reference/data-formats.md describes the records as the code writes them."""

import json

from jobs.feeds.model import CODES, Rejection
from jobs.records import Frame, Part, feed_event, gap_rejection, rejections
from tests.unit.docs import pages

PAGE = (pages.REFERENCE / "data-formats.md").read_text()
REJECTED, EVENTS = (pages.section(PAGE, f"Topic `tweets.{name}`") for name in ("rejected", "events"))


def named(section: str) -> list[str]:
    """What the first column of the section's tables names."""
    return [name for row in pages.rows(section) for name in pages.codes(row[0])]


def test_each_code_is_described() -> None:
    assert CODES.keys() <= set(named(REJECTED))


def test_each_field_of_a_rejection_is_described() -> None:
    frame, parts = Frame(b"\xff", False, 0), [Part(Rejection("binary", "", number), "1") for number in range(9)]
    records = [*rejections(parts, "mine", frame, ""), *rejections(parts[:1], "mine", frame, "")]
    for record in (*records, gap_rejection("lost", "", "mine", {}, "", 0)):
        assert json.loads(record.value).keys() <= set(named(REJECTED))


def test_each_field_of_an_event_is_described() -> None:
    event = feed_event("started", "mine", "0/1", "", 0)
    assert {*json.loads(event.value), "started"} <= set(named(EVENTS))
