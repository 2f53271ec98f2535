"""The stand-in page from outside, and the real getter against it and against servers that misbehave worse."""

import gzip
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from jobs.worldometers import CachedCounters, Counters, PageError, PageGetter, parse_counters
from simulator.worldometers_page import FAULTS, PageServer, read_settings, render_page

ROOT = Path(__file__).parents[2]
NOW = 1_617_026_400.0  # 2021-03-29 14:00 GMT
HEADERS = ["Total Cases", "Total Deaths", "Total Recovered", "New Cases", "New Deaths", "New Recovered"]
HEADERS += ["Active Cases", "Serious, Critical"]
times = st.floats(1.5e9, 2.5e9)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def stand_in() -> Iterator[str]:
    with serving(PageServer("127.0.0.1", 0, clock=lambda: NOW)) as base:
        yield base


def set_fault(base: str, fault: str) -> requests.Response:
    return requests.put(f"{base}/fault", data=fault, timeout=5)


def read_table(page: str, day: str) -> list[list[str]]:
    table = BeautifulSoup(page, "html.parser").find("table", id=f"main_table_countries_{day}")
    assert table is not None
    return [[" ".join(c.get_text(" ").split()) for c in tr.find_all(["th", "td"])] for tr in table.find_all("tr")]


def column(rows: list[list[str]], header: str) -> list[int]:
    index = rows[0].index(header)
    cells = [row[index].replace(",", "") for row in rows[1:]]
    return [0 if cell in ("", "N/A") else int(cell) for cell in cells]


@given(times)
def test_rendered_page_is_parsed_to_its_sums(now: float) -> None:
    """Continents and, as the real page counts N/A as none, countries sum up to the world."""
    rows = read_table(render_page(now), "today")
    names = [row[rows[0].index("Country, Other")] for row in rows[1:]]
    world = names.index("World")
    counters = parse_counters(render_page(now))
    for header, count in zip(HEADERS, counters, strict=True):
        values = column(rows, header)
        assert (count or 0) == values[world] == sum(values[:world])
        if header not in ("Active Cases", "Serious, Critical"):
            assert values[world] == sum(values[world + 1 : names.index("Total:")])
    assert parse_counters(render_page(now, layout="without-new-recovered")) == counters._replace(new_recovered_count=None)


@given(times, st.floats(0, 1e8))
def test_totals_never_fall(now: float, later: float) -> None:
    before, after = parse_counters(render_page(now)), parse_counters(render_page(now + later))
    for a, b in zip(before[:3], after[:3], strict=True):
        assert a is not None
        assert b is not None
        assert a <= b


def test_new_starts_again_at_midnight_and_yesterday_keeps_its_own() -> None:
    midnight = NOW - NOW % 86_400
    assert parse_counters(render_page(midnight))[3:6] == (None, None, None)  # blank, as on the real page
    today, tomorrow = render_page(midnight + 86_399), render_page(midnight + 86_400)
    new = parse_counters(today).new_cases_count
    assert new is not None
    assert 67_000 < new < 70_000
    assert column(read_table(tomorrow, "yesterday"), "New Cases")[6] - new in (0, 1, 2)
    assert read_table(tomorrow, "yesterday2") == read_table(today, "yesterday")
    assert render_page(NOW) == render_page(NOW)


def test_page_has_the_cells_of_the_real_one() -> None:
    page = render_page(NOW)
    ids = re.findall(r'<table id="(\w+)"', page)
    assert ids == [f"main_table_countries_{day}" for day in ("today", "yesterday", "yesterday2")]
    for shape in ("<th width=\"30\">Total<br />Cases</th>", "<nobr>Europe</nobr>", "<td>World</td>", "<td>N/A</td>"):
        assert shape in page
    assert re.search(r"<td>\d+,\d{3},\d{3}</td>\n<td>\+\d+,\d{3}</td>", page)
    assert page.index("Europe") < page.index("World") < page.index("USA")


def test_getter_and_cache_with_each_fault(stand_in: str) -> None:
    """One fault after the other, without a restart: the reason is the fault's own, and the counters come back."""
    getter, url = PageGetter(deadline=0.5, max_bytes=1_000_000), f"{stand_in}/coronavirus/"
    good = parse_counters(render_page(NOW))
    cache = CachedCounters(url, getter, refresh_seconds=0)
    for fault, error, reason in (
        ("error", requests.HTTPError, "HTTP status 503"),
        ("slow", requests.Timeout, "no complete page within 0.5 s"),
        ("huge", requests.RequestException, "page is larger than 1000000 bytes"),
        ("layout", PageError, "page has no table main_table_countries_today"),
        ("garbage", PageError, "page has no table main_table_countries_today"),
    ):
        assert set_fault(stand_in, fault).status_code == 200
        started = time.monotonic()
        with pytest.raises(error, match=reason):
            parse_counters(getter(url))
        assert time.monotonic() - started < 3
        failures = cache.failures
        cache.get()
        assert cache.failures == failures + 1
        set_fault(stand_in, "none")
        assert cache.get() == good
    set_fault(stand_in, "without-new-recovered")
    assert cache.get() == good._replace(new_recovered_count=None)
    wait_for_downloads()


def wait_for_downloads() -> None:
    """None may outlive its deadline for long, as long as bytes arrive."""
    for thread in threading.enumerate():
        if thread.name == "worldometers":
            thread.join(3)
            assert not thread.is_alive()
