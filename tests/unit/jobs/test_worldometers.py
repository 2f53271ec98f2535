"""The counters: how pages are parsed, and what the cache serves while the site fails."""

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.counters import Counters
from jobs.worldometers import CachedCounters, PageError, PageFetcher, parse_counters, shared_counters

HEADERS = ["#", "Country,<br />Other", "Total<br />Cases", "New<br />Cases", "Total<br />Deaths"]
HEADERS += ["New<br />Deaths", "Total<br />Recovered", "New<br />Recovered", "Active<br />Cases"]
HEADERS += ["Serious,<br />Critical", "Tot&nbsp;Cases/<br />1M pop", "Continent"]
WORLD = ["", "World", "6,549", "+108", "386", "+4", "3,110", "+103", "3,053", "54", "840.2", "All"]
EUROPE = ["", "<nobr>Europe</nobr>", "2,028", "+17", "176", "+8", "1,027", "+14", "825", "9", "", "Europe"]
COUNTERS = Counters(6549, 386, 3110, 108, 4, 103, 3053, 54)


def row(tag: str, cells: list[str], css_class: str = "") -> str:
    return "\n".join([f'<tr class="{css_class}">', *(f"<{tag}>{cell}</{tag}>" for cell in cells), "</tr>\n"])


def make_page(headers: list[str] = HEADERS, world: list[str] = WORLD, table: str = "today") -> str:
    """A short page with everything of the real page that could break a parser, in the same order."""
    rows = row("th", headers) + row("td", EUROPE, "total_row_world") + row("td", world, "total_row_world")
    rows += row("td", ["1", "USA", *EUROPE[2:]]) + 2 * row("td", ["", "Total:", *EUROPE[2:]], "total_row")
    other = row("th", HEADERS) + row("td", ["", "World", *EUROPE[2:]], "total_row_world")
    return (
        "<html><script>var cur_table = 'main_table_countries_today';</script>\n"
        f'<table data-id="main_table_countries_today" class="a">{other}</table>\n'
        f'<table class="a" id="main_table_countries_{table}" style="display:none">\n{rows}</table>\n'
        f'<table id="main_table_countries_yesterday">{other}</table></html>'
    )


def changed(column: str, cell: str) -> list[str]:
    return [cell if header == column else old for header, old in zip(HEADERS, WORLD, strict=True)]


def without(column: str) -> str:
    keep = [i for i, header in enumerate(HEADERS) if header != column]
    return make_page([HEADERS[i] for i in keep], [WORLD[i] for i in keep])


REAL_2020 = Counters(6_549_433, 386_155, 3_110_852, 108_151, 4_296, 103_271, 3_052_426, 54_174)
REAL_2021 = Counters(128_063_606, 2_799_926, 103_231_584, 297_253, 3_827, 255_542, 22_032_096, 94_389)


@pytest.mark.parametrize(
    ("name", "counters"),
    [("2020-06-03_corona_collector.html", REAL_2020), ("2021-03-29_zachmakeen.html", REAL_2021)],
)
def test_real_pages(name: str, counters: Counters) -> None:
    samples = Path(os.environ.get("SAMPLES") or Path(__file__).parents[4] / "shared" / "samples")
    page = samples / "worldometers" / name
    if not page.exists():
        pytest.skip(f"real pages are not here: set SAMPLES=the folder with worldometers/{name}")
    assert parse_counters(page.read_bytes()) == counters


def test_page_as_text_and_as_bytes() -> None:
    assert parse_counters(make_page()) == COUNTERS
    assert parse_counters(make_page().encode() + b"\xff") == COUNTERS


def test_reformatted_page() -> None:
    """As BeautifulSoup's prettify leaves it: white space everywhere, and <br> around what should follow it."""
    headers = [header.replace("<br />", "\n <br>\n  ") + "\n </br>\n" for header in HEADERS]
    assert parse_counters(make_page(headers, [f"\n   {cell}\n  " for cell in WORLD])) == COUNTERS


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(10**12), 10**12), min_size=8, max_size=8), st.permutations(range(12)))
def test_every_count_in_every_order_of_columns(counts: list[int | None], order: list[int]) -> None:
    totals, new, rest = counts[:3], counts[3:6], counts[6:]
    cells = ["" if n is None else f"{n:,}" for n in totals]
    cells_new = ["N/A" if n is None else f"{n:+,}" for n in new]
    pairs = [cell for pair in zip(cells, cells_new, strict=True) for cell in pair]
    world = ["", "World", *pairs, *("" if n is None else str(n) for n in rest), "840.2", "All"]
    page = make_page([HEADERS[i] for i in order], [world[i] for i in order])
    page = page.replace(row("td", EUROPE, "total_row_world"), "")  # whose cells are not reordered
    if any(n is not None for n in counts):
        assert parse_counters(page) == tuple(counts)
    else:
        with pytest.raises(PageError, match="row 'World' has no counts"):
            parse_counters(page)


def test_row_that_is_commented_out() -> None:
    europe, old = (row("td", cells, "total_row_world") for cells in (EUROPE, ["", "World", *EUROPE[2:]]))
    assert parse_counters(make_page().replace(europe, f"<!-- {old} -->")) == COUNTERS


def test_a_page_of_early_2020() -> None:
    """One table, without `_today` in its id, and one row *Total:* at its end."""
    rows = row("th", HEADERS) + row("td", ["1", "China", *EUROPE[2:]])
    total = row("td", ["", "<strong>Total:</strong>", *WORLD[2:]], "total_row")
    page = '<table id="main_table_countries" class="a">{}</table>'
    assert parse_counters(page.format(rows + total)) == COUNTERS
    for wrong in (rows, rows + 2 * total):
        with pytest.raises(PageError, match="has no row 'World'"):
            parse_counters(page.format(wrong))


def test_an_archived_page_whose_links_are_long() -> None:
    link = f"""<a href="https://web.archive.example/{"x" * 20_000}">World</a>"""
    assert parse_counters(make_page(world=["", link, *WORLD[2:]])) == COUNTERS


def test_page_without_new_recovered() -> None:
    assert parse_counters(without("New<br />Recovered")) == COUNTERS._replace(new_recovered_count=None)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        *(("+1,234", 1234), ("-1,234", -1234), ("0", 0), (" 12 ", 12), ("<b>7</b>", 7), ("<!-- 12 -->13", 13)),
        *(("", None), ("N/A", None), ("&nbsp;", None), ("999,999,999,999,999", 999_999_999_999_999)),
    ],
)
def test_cells(cell: str, count: int | None) -> None:
    assert parse_counters(make_page(world=changed("New<br />Deaths", cell))).new_deaths_count == count


@pytest.mark.parametrize("cell", ["abc", "1.5", "12,34", "1 234", "+", "1e6", "9" * 16, "٣"])
def test_cell_that_is_not_a_count(cell: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_counters(make_page(world=changed("Serious,<br />Critical", cell)))
    assert str(caught.value) == f"column 'Serious, Critical' of row 'World' has {cell!r}, which is not a count"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", "page has no table main_table_countries_today"),
        (make_page(table="renamed"), "page has no table main_table_countries_today"),
        (without("Total<br />Cases"), "has no column 'Total Cases'"),
        (without("Country,<br />Other"), "has no row 'World'"),
        (make_page(world=EUROPE), "has no row 'World'"),
        (make_page(world=WORLD[:6]), "row 'World' has 6 cells under 12 headers"),
        (make_page(world=["", "World", *[""] * 10]), "row 'World' has no counts"),
        (make_page().partition("3,05")[0], "the page is cut off"),
        (make_page(world=changed("Continent", "x" * 3000)), "or one over 3000 characters"),
        (make_page(world=changed("Continent", "<tr>" * 300)), "over 300 rows"),
    ],
)
def test_page_that_is_not_the_known_one(page: str, text: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_counters(page)
    assert text in str(caught.value)


class Site:
    """A page, or an exception instead of it, and a clock in seconds that only the test advances."""

    def __init__(self) -> None:
        self.now, self.calls = 1000.0, 0
        self.answer: bytes | Exception = make_page().encode()
        self.cache = CachedCounters("http://site", fetch=self.get, clock=lambda: self.now)

    def get(self, url: str) -> bytes:
        assert url == "http://site"
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_fetches_once_a_minute() -> None:
    site = Site()
    newer = make_page(world=changed("Total<br />Cases", "7,000")).encode()
    assert (site.cache.get(), site.cache.get(), site.calls) == (COUNTERS, COUNTERS, 1)
    site.answer = newer
    site.now += 59.9
    assert (site.cache.get(), site.calls) == (COUNTERS, 1)
    assert site.cache.age == pytest.approx(59.9)
    site.now += 0.1
    assert (site.cache.get(), site.calls, site.cache.age) == (parse_counters(newer), 2, 0.0)
    assert parse_counters(newer).total_cases_count == 7000


def test_serves_the_last_good_counters_for_a_day() -> None:
    site = Site()
    site.cache.get()
    site.answer = requests.ConnectionError("refused")
    for _ in range(24 * 60):
        site.now += 60
        assert site.cache.get() == COUNTERS
    site.now += 1
    assert site.cache.get() is None
    assert (site.cache.fetches, site.cache.failures, site.cache.age) == (1441, 1440, 86_401)
    site.answer = make_page().encode()
    site.now += 59
    assert (site.cache.get(), site.cache.age) == (COUNTERS, 0)


def test_asks_a_failing_site_once_a_minute() -> None:
    site = Site()
    site.answer = requests.ConnectionError("refused")
    for _ in range(180):
        assert site.cache.get() is None
        site.now += 1
    assert (site.calls, site.cache.fetches, site.cache.failures, site.cache.age) == (3, 3, 3, None)


@pytest.mark.parametrize(
    "answer", [b"\x00\xff", TimeoutError(), UnicodeError("idna"), RecursionError(), AssertionError("html.parser")]
)
def test_never_raises(answer: bytes | Exception) -> None:
    site = Site()
    site.answer = answer
    assert site.cache.get() is None
    assert site.cache.failures == 1


def test_logs_a_failure_once_and_the_recovery(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = Site()
    site.cache.get()
    for answer in (requests.HTTPError("HTTP status 503"), b"<html>", make_page().encode(), requests.Timeout("slow")):
        site.answer = answer
        site.now += 60
        site.cache.get()
        site.cache.get()
    site.now += 86_400
    site.cache.get()
    table = "page has no table main_table_countries_today or main_table_countries"
    assert [(record.levelname, record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("WARNING", "no counters from http://site: HTTPError: HTTP status 503; serving those of 60 s ago", None),
        ("WARNING", f"no counters from http://site: PageError: {table}; serving those of 120 s ago", None),
        ("INFO", "counters from http://site again", None),
        ("WARNING", "no counters from http://site: Timeout: slow; serving those of 60 s ago", None),
        ("WARNING", "no counters from http://site: Timeout: slow; serving none", None),
    ]


def test_a_failure_is_logged_without_the_secrets_of_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = Site()
    site.cache.url = "http://me:s3cret@127.0.0.1:1/coronavirus/s3cret/?token=s3cret"
    site.cache.fetch = PageFetcher()
    assert site.cache.get() is None
    site.cache.fetch, site.now = lambda _: make_page().encode(), site.now + 60
    assert site.cache.get() == COUNTERS
    assert len(caplog.records) == 2
    assert caplog.text.count("counters from http://127.0.0.1:1/coronavirus/***/") == 2
    assert "/coronavirus/***/?token=***" in caplog.text  # of the client's own text
    assert "s3cret" not in caplog.text


def test_threads_that_ask_at_once_share_one_fetch() -> None:
    fetches = []
    all_asking = threading.Barrier(4, timeout=10)

    def get(url: str) -> bytes:
        fetches.append(url)
        return make_page().encode()

    cache = CachedCounters("http://site", fetch=get)

    def ask() -> Counters | None:
        all_asking.wait()
        return cache.get()

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(ask) for _ in range(4)]]
    assert len(set(found)) == 1
    assert found[0] is not None
    assert fetches == ["http://site"]


def test_all_that_ask_for_a_page_in_a_process_share_its_counters() -> None:
    assert shared_counters("http://a", 60) is shared_counters("http://a", 60)
    assert shared_counters("http://a", 60) is not shared_counters("http://b", 60)
