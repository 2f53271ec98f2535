"""The console's page in a real browser. Its sources are examples here; test_console.py has the real ones."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from console.observations import FeedEvent, Post
from console.view import Board, View, build
from tests.support.browser import Visit, chromium
from tests.unit.console import examples
from tests.unit.console.examples import HOSTILE, NOW, REJECTED, answers, collector, lost, topics
from tests.unit.console.test_server import serving

PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Shown:
    """What the page shows now; a test may change it."""

    def __init__(self) -> None:
        self.now = NOW
        self._board = Board(20, [("Python", "3.11.2")])
        self.standard()

    def standard(self) -> None:
        events = [FeedEvent("connected", NOW - 40_000, "simulator", "ws://feed"), lost(NOW - 30_000)]
        self.answers = answers(topics=topics(rejected=(REJECTED,), events=tuple(events)))

    def view(self) -> View:
        return build(self.answers, self._board, self.now)


@pytest.fixture(scope="module")
def shown() -> Shown:
    return Shown()


@pytest.fixture(scope="module")
def address(shown: Shown) -> Iterator[str]:
    with serving(shown.view) as url:
        yield url


def test_a_hostile_post_is_text(browser: Browser, address: str) -> None:
    with Visit(browser, address) as visit:
        expect(visit.page.locator("#live")).to_have_text("live")
        expect(visit.page.locator("#posts .text").first).to_have_text(HOSTILE)
        assert visit.page.locator("#posts img, #posts script").count() == 0
        assert "owned" not in visit.page.title()


def test_a_post_is_shown_before_and_after_cleaning(browser: Browser, address: str) -> None:
    with Visit(browser, address) as visit:
        pair = visit.page.locator("#posts li").filter(has_text="before cleaning")
        expect(pair.locator(".original")).to_have_text("a #calm post")
        expect(pair.locator(".text")).to_have_text("a calm post")
        # One script reads both places, because the page replaces its elements with each update.
        before, after = visit.page.evaluate(
            "[...document.querySelectorAll('#posts li:has(.before) > :is(.before, .after)')]"
            ".map(each => each.getBoundingClientRect().toJSON())"
        )
        assert (before["y"], before["x"] < after["x"]) == (after["y"], True)


HOUR = 3_600
HAPPENED: tuple[tuple[str, float, dict[str, str]], ...] = (
    ("connected", 9.0, {}),
    ("disconnected", 8.0, {"reason": "closed"}),
    ("resumed", 7.0, {"position": "a/4"}),
    ("silent", 6.0, {"reason": "nothing for 60 s"}),
    ("refused", 5.0, {"reason": "status 503"}),
    ("connected", 4.0, {}),
)
EVENTS = [
    FeedEvent(what, NOW - ago * HOUR, "simulator", "ws://feed", details, f"0/{number}", f'{{"event": "{what}"}}')
    for number, (what, ago, details) in enumerate(HAPPENED)
]


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("lost", ["first position", "5", "last position", "9", '{"event": "lost", "first": 5}']),
        ("reconnecting", ["3,600 s", "closed", '0/1 {"event": "disconnected"}', '0/2 {"event": "resumed"}']),
        ("replayed", ["from position", "a/4", '0/1 {"event": "disconnected"}', '0/2 {"event": "resumed"}']),
        ("silent", ["3,600 s", "nothing for 60 s", '0/3 {"event": "silent"}', '0/4 {"event": "refused"}']),
        ("refused", ["3,600 s", "status 503", '0/4 {"event": "refused"}', '0/5 {"event": "connected"}']),
    ],
    ids=["LOST", "reconnecting", "replayed", "silent", "refused"],
)
def test_a_click_on_a_lost_range_shows_the_range_and_its_records(
    browser: Browser, address: str, shown: Shown, kind: str, texts: list[str], scripts: bool
) -> None:
    shown.answers = answers(topics=topics(events=(*EVENTS, lost(NOW - 3 * HOUR))))
    try:
        with Visit(browser, address, java_script_enabled=scripts) as visit:
            page = visit.page
            incident = page.locator(f"#ledger li.{kind} details")
            expect(incident).to_have_count(1, timeout=20_000)
            expect(incident.locator("pre")).to_be_hidden()
            page.locator(f"#ledger svg rect.{kind}").click(force=True)
            expect(incident.locator("pre")).to_be_visible()
            for text in texts:
                expect(incident).to_contain_text(text)
    finally:
        shown.standard()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_cursor_reads_a_line(browser: Browser, scheme: Any) -> None:
    view = picture()
    with serving(lambda: view) as url, Visit(browser, url, color_scheme=scheme, timezone_id="UTC") as visit:
        chart = visit.page.locator(".box", has_text="Collector").locator(".chart")
        expect(chart).to_contain_text("at most")
        assert visit.page.locator("svg.line").count() == 0
        chart.locator(".u-over").hover(position={"x": 2, "y": 5})
        expect(chart.locator("p")).to_have_text(re.compile(r"^17:3[12]:\d\d: [\d.]+/s$"))
        label = chart.get_by_role("img").get_attribute("aria-label")
        assert label is not None
        assert label.startswith("Collector, last 15 minutes: now ")


def test_without_javascript_the_lines_are_those_of_the_server(browser: Browser) -> None:
    view = picture()
    with serving(lambda: view) as url, Visit(browser, url, java_script_enabled=False) as visit:
        expect(visit.page.get_by_role("img", name="Collector, last 15 minutes: now")).to_be_visible()


def test_the_page_reads_without_javascript(browser: Browser, address: str) -> None:
    with Visit(browser, address, java_script_enabled=False) as visit:
        for text in ("nothing lost since the start", "a calm post", "positions 5 to 9, 5 lost: gone"):
            expect(visit.page.get_by_text(text).first).to_be_visible()
        assert visit.page.locator("#pause").is_hidden()


def test_a_change_is_shown_and_announced(browser: Browser, address: str, shown: Shown) -> None:
    with Visit(browser, address) as visit:
        page = visit.page
        expect(page.locator("#state .state")).to_contain_text("Complete up to")
        expect(page.locator("#announcement")).to_have_text("")
        try:
            shown.answers = answers(collector=collector(state="FAILED"))
            expect(page.locator("#state .state.red")).to_contain_text("The collector is FAILED", timeout=10_000)
            expect(page.locator("#announcement")).to_contain_text("The collector is FAILED")
            assert page.title().startswith("red: ")
        finally:
            shown.standard()
        expect(page.locator("#state .state.green")).to_be_visible(timeout=10_000)


def test_posts_can_be_paused_and_filtered(browser: Browser, address: str, shown: Shown) -> None:
    with Visit(browser, address) as visit:
        page = visit.page
        page.get_by_label("Filter").fill("CALM")
        expect(page.locator("#posts li:visible")).to_have_count(1)
        expect(page.locator("#matches")).to_have_text("1 of 2")
        page.get_by_label("Filter").fill("")
        page.get_by_role("button", name="Pause").click()
        try:
            newer = Post("simulator-a-3", "the newest post", NOW, "simulator", "a/3")
            shown.answers = answers(topics=topics(posts=(newer,), records=7_000), collector=collector(state="FAILED"))
            expect(page.locator("#state .state.red")).to_be_visible(timeout=10_000)
            expect(page.locator("#posts li")).to_have_count(2)
            page.get_by_role("button", name="Pause").click()
            expect(page.locator("#posts .text")).to_have_text(["the newest post"])
        finally:
            shown.standard()


def test_times_are_those_of_the_reader_with_utc_on_hover(browser: Browser, address: str) -> None:
    with Visit(browser, address, timezone_id="Asia/Tokyo", locale="en-GB") as visit:
        time = visit.page.locator("#state time")
        expect(time).to_have_text("02:46:40")
        assert time.get_attribute("title") == "2026-11-18T17:46:40Z"


def test_an_open_sample_stays_open(browser: Browser, address: str, shown: Shown) -> None:
    with Visit(browser, address) as visit:
        page = visit.page
        page.locator("#rejected-bad_text summary").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("make rejected REPLAY=bad_text")).to_be_visible()
        try:
            more = REJECTED.__class__(**{**vars(REJECTED), "count": 4})
            shown.answers = answers(topics=topics(rejected=(more,)))
            expect(page.locator("#rejected")).to_contain_text("4 times", timeout=10_000)
            expect(page.get_by_text("make rejected REPLAY=bad_text")).to_be_visible()
            assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        finally:
            shown.standard()


def test_the_keyboard_reaches_everything_from_the_top(browser: Browser, address: str) -> None:
    with Visit(browser, address) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.textContent") == "Skip to the state"
        reached = set()
        for _ in range(20):
            visit.page.keyboard.press("Tab")
            reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert {"pause", "filter", "SUMMARY", "UL"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_cut(browser: Browser, address: str, scheme: Any, size: Any) -> None:
    with Visit(browser, address, color_scheme=scheme, viewport=size) as visit:
        expect(visit.page.locator("#live")).to_have_text("live")
        found = Axe().run(visit.page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_console_that_stops_says_so(browser: Browser, shown: Shown) -> None:
    with serving(shown.view) as url:
        visit = Visit(browser, url)
        expect(visit.page.locator("#live")).to_have_text("live")
    expect(visit.page.locator("#live")).to_contain_text("does not answer", timeout=20_000)


SETTINGS = {"CHECKPOINT_SECONDS": "1", "FEED": "simulator", "START_FROM": "topic"}


def picture() -> View:
    """A quarter of an hour of made-up data, with a reconnect and a loss some hours ago."""
    board = Board(20, [("Data Collection", "0.1.0"), ("Python", "3.11.2")])
    hour = 3_600
    happened = [
        ("started", 20.0, {"guarantee": "exactly once"}),
        ("connected", 20.0, {}),
        ("disconnected", 9.0, {"reason": "closed: no close frame received or sent"}),
        ("resumed", 8.2, {"position": "5ed74717/20481"}),
        ("lost", 8.2, {"first": "20482", "last": "20901", "lost": "420", "why": "the server no longer has them"}),
        ("disconnected", 1.1, {"reason": "no answer to a ping within 15 s"}),
        ("resumed", 1.0, {"position": "5ed74717/91377"}),
    ]
    events = [
        FeedEvent(
            what, NOW - ago * hour, "simulator", "ws://simulator:5555", details, f"0/{number}",
            json.dumps({"event": what, "source": "simulator", "shard": "0/1", **details}),
        )
        for number, (what, ago, details) in enumerate(happened)
    ]  # fmt: skip
    texts = (
        ("Wash your hands, stay at home", "RT: Wash your hands, stay at home #COVID19 https://example.org/a"),
        ("New numbers for the county are out", "New numbers for the #county are out"),
        ("Masks are mandatory on the bus", ""),
    )
    posts = [
        Post(
            f"simulator-a-{at}",
            texts[at % 3][0],
            NOW - at / 20,
            "simulator",
            f"5ed74717/{95_000 - at}",
            texts[at % 3][1],
        )
        for at in range(12)
    ]
    total = 0.0
    for second in range(900):
        total += 20 + (second // 60 % 5) * (second % 7) / 3
        metrics = {"collector_posts": total, "collector_gaps": 1.0, "collector_lost": 420.0, "collector_rejected": 3.0}
        now = NOW - 900 + second
        values = answers(
            now,
            collector=collector(metrics=metrics, settings=SETTINGS, flink_version="1.20.5"),
            aggregator=examples.aggregator(
                metrics={"documents_written": 300 + second // 20, "enrichment_fetches": 15.0}
            ),
            topics=topics(records=int(total), posts=tuple(posts), events=tuple(events), rejected=(REJECTED,)),
        )
        view = build(values, board, now)
    return view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pictures_of_the_documentation(browser: Browser, scheme: Any, tmp_path: Path) -> None:
    """SCREENSHOTS=docs/img writes them there."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    view = picture()
    with (
        serving(lambda: view) as url,
        Visit(browser, url, color_scheme=scheme, viewport={"width": 1100, "height": 1150}) as visit,
    ):
        expect(visit.page.locator("#live")).to_have_text("live")
        visit.page.screenshot(path=folder / f"console-{scheme}.png")
    assert (folder / f"console-{scheme}.png").stat().st_size > 10_000
