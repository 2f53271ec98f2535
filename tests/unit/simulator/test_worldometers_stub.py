"""The stub page from outside, and the real getter against it and against servers that misbehave worse."""

import gzip
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.worldometers import CachedCounters, PageError, PageFetcher, parse_counters
from simulator.worldometers_stub import FAULTS, PageServer, read_settings, render_page

ROOT = Path(__file__).parents[3]
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
def stub() -> Iterator[str]:
    with serving(PageServer("127.0.0.1", 0, clock=lambda: NOW)) as base:
        yield base


def set_fault(base: str, fault: str) -> requests.Response:
    return requests.put(f"{base}/fault", data=fault, timeout=5)


def wait_for_downloads() -> None:
    """None may outlive its deadline for long, as long as bytes arrive."""
    for thread in threading.enumerate():
        if thread.name == "worldometers":
            thread.join(3)
            assert not thread.is_alive()


def read_table(page: str, day: str) -> list[list[str]]:
    table = BeautifulSoup(page, "html.parser").find("table", id=f"main_table_countries_{day}")
    assert table is not None
    return [[" ".join(c.get_text(" ").split()) for c in tr.find_all(["th", "td"])] for tr in table.find_all("tr")]


def column(rows: list[list[str]], header: str) -> list[int]:
    index = rows[0].index(header)
    cells = [row[index].replace(",", "") for row in rows[1:]]
    return [0 if cell in ("", "N/A") else int(cell) for cell in cells]


@settings(deadline=None, max_examples=30)
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
    assert parse_counters(render_page(now, layout="without-new-recovered")) == counters._replace(
        new_recovered_count=None
    )


@settings(deadline=None, max_examples=30)
@given(times, st.floats(0, 1e8))
def test_totals_never_fall(now: float, later: float) -> None:
    before, after = parse_counters(render_page(now)), parse_counters(render_page(now + later))
    for count, count_later in zip(before[:3], after[:3], strict=True):
        assert (count or 0) <= (count_later or 0)


def test_new_starts_again_at_midnight_and_yesterday_keeps_its_own() -> None:
    midnight = NOW - NOW % 86_400
    assert parse_counters(render_page(midnight))[3:6] == (None, None, None)  # blank, as on the real page
    today, tomorrow = render_page(midnight + 86_399), render_page(midnight + 86_400)
    new = parse_counters(today).new_cases_count
    assert new is not None
    assert new == 70_420  # all of a day but its last second
    assert max(column(read_table(tomorrow, "yesterday"), "New Cases")) == 70_430
    assert read_table(tomorrow, "yesterday2") == read_table(today, "yesterday")
    assert render_page(NOW) == render_page(NOW)
    assert parse_counters(render_page(0)).total_deaths_count == 269_290  # where all begin, never less


def test_page_has_the_cells_of_the_real_one() -> None:
    page = render_page(NOW)
    ids = re.findall(r'<table id="(\w+)"', page)
    assert ids == [f"main_table_countries_{day}" for day in ("today", "yesterday", "yesterday2")]
    for shape in ('<th width="30">Total<br />Cases</th>', "<nobr>Europe</nobr>", "<td>World</td>", "<td>N/A</td>"):
        assert shape in page
    assert re.search(r"<td>\d+,\d{3},\d{3}</td>\n<td>\+\d+,\d{3}</td>", page)
    assert page.index("Europe") < page.index("World") < page.index("USA")


def test_getter_and_cache_with_each_fault(stub: str) -> None:
    """One fault after the other, without a restart: the reason is the fault's own, and the counters come back."""
    getter, url = PageFetcher(deadline=0.5, max_bytes=1_000_000), f"{stub}/coronavirus/"
    good = parse_counters(render_page(NOW))
    cache = CachedCounters(url, getter, refresh_seconds=0)
    for fault, error, reason in (
        ("error", requests.HTTPError, "HTTP status 503"),
        ("slow", requests.Timeout, "no complete page within 0.5 s"),
        ("huge", requests.RequestException, "page is larger than 1000000 bytes"),
        ("layout", PageError, "page has no table main_table_countries_today"),
        ("garbage", PageError, "page has no table main_table_countries_today"),
    ):
        assert set_fault(stub, fault).status_code == 200
        started = time.monotonic()
        with pytest.raises(error, match=reason):
            parse_counters(getter(url))
        assert time.monotonic() - started < 3
        failures = cache.failures
        cache.get()
        assert cache.failures == failures + 1
        set_fault(stub, "none")
        assert cache.get() == good
    set_fault(stub, "without-new-recovered")
    assert cache.get() == good._replace(new_recovered_count=None)
    wait_for_downloads()


class Rogue(BaseHTTPRequestHandler):
    """What a broken or hostile site may do, by path."""

    protocol_version = "HTTP/1.1"
    released = threading.Event()

    def do_GET(self) -> None:
        page = render_page(NOW).encode()
        endless = (b"-" * 65_536 for _ in iter(int, 1))
        never_ending_header = (b"a" for _ in iter(lambda: self.released.wait(0.02), True))
        status, headers, body = {
            "/gzip": (200, {"Content-Encoding": "gzip"}, [gzip.compress(page)]),
            "/gzip-bomb": (200, {"Content-Encoding": "gzip"}, [gzip.compress(b"0" * 20_000_000)]),
            "/chunked": (200, {"Transfer-Encoding": "chunked"}, [b"%x\r\n%b\r\n0\r\n\r\n" % (len(page), page)]),
            "/cut-off": (200, {"Content-Length": str(len(page) + 1)}, [page]),
            "/no-content": (204, {}, []),
            "/agent": (200, {}, [str(self.headers["User-Agent"]).encode()]),
            "/moved": (301, {"Location": "/gzip"}, endless),
            "/loop": (302, {"Location": "/loop"}, []),
            "/to-a-file": (302, {"Location": "file:///etc/hostname"}, []),
            "/headers": (200, None, never_ending_header),
        }[self.path]
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if headers is None:
            self.flush_headers()
        else:
            self.end_headers()
        with suppress(ConnectionError):
            for part in body:
                self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def rogue() -> Iterator[str]:
    Rogue.released.clear()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Rogue)) as base:
        yield base
        Rogue.released.set()


def test_getter_takes_compressed_chunked_and_moved_pages(rogue: str) -> None:
    for path in ("/gzip", "/chunked", "/moved"):
        assert PageFetcher()(rogue + path).decode() == render_page(NOW)
    assert PageFetcher()(f"{rogue}/agent").startswith(b"data-collection/")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/gzip-bomb", "page is larger than 1000000 bytes"),
        ("/cut-off", "IncompleteRead"),
        ("/no-content", "HTTP status 204"),
        ("/loop", "Exceeded 3 redirects"),
        ("/to-a-file", "No connection adapters"),
        ("/headers", "no complete page within 2 s"),
    ],
)
def test_getter_refuses(rogue: str, path: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        PageFetcher(deadline=2, max_bytes=1_000_000)(rogue + path)


def test_downloads_that_are_stuck_do_not_pile_up(rogue: str) -> None:
    getter = PageFetcher(deadline=0.1)
    for reason in [*["no complete page"] * 3, "earlier downloads are still stuck"]:
        with pytest.raises(requests.Timeout, match=reason):
            getter(f"{rogue}/headers")
    Rogue.released.set()
    wait_for_downloads()
    getter.deadline = 5
    assert getter(f"{rogue}/gzip")


def test_getter_without_a_server() -> None:
    with socket.socket() as unused:  # bound, not listening: nobody else gets the port
        unused.bind(("127.0.0.1", 0))
        cache = CachedCounters(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        assert cache.get() is None
        assert cache.failures == 1
    assert CachedCounters("nonsense").get() is None


def test_fault_and_health_of_the_stub(stub: str) -> None:
    health = requests.get(f"{stub}/healthz", timeout=5)
    assert (health.status_code, health.json()) == (200, {"status": "ok", "fault": "none"})
    refused = set_fault(stub, "earthquake")
    assert (refused.status_code, refused.text) == (400, f"allowed are {', '.join(FAULTS)}")
    assert (set_fault(stub, "huge\n").text, requests.get(f"{stub}/fault", timeout=5).text) == ("huge", "huge")
    assert requests.put(f"{stub}/coronavirus/", data="none", timeout=5).status_code == 404
    assert requests.get(f"{stub}/", timeout=5).status_code == 404


def test_settings() -> None:
    assert read_settings({}) == ("127.0.0.1", 5556, "none")
    chosen = {"WORLDOMETERS_HOST": "*", "WORLDOMETERS_PORT": "0", "WORLDOMETERS_FAULT": "slow"}
    assert read_settings(chosen) == ("*", 0, "slow")


def start(command: list[str], **settings: str) -> subprocess.Popen[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WORLDOMETERS_")} | settings
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)


SCRIPT = ["simulator/worldometers_stub.py"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("HOST", "a b", "a host name, an IP address or * is allowed"),
        ("PORT", "65536", "a whole number from 0"),
        ("PORT", "http", "a whole number from 0"),
        ("FAULT", "None", "one of none, error, slow"),
    ],
)
def test_bad_setting(name: str, value: str, allowed: str) -> None:
    process = start(SCRIPT, **{f"WORLDOMETERS_{name}": value})
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert errors.startswith(f"worldometers_stub ERROR WORLDOMETERS_{name}={value!r}: {allowed}")
    assert errors.count("\n") == 1


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(SCRIPT, WORLDOMETERS_PORT=port)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert errors == f"worldometers_stub ERROR cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("command", [SCRIPT, ["-m", "simulator.worldometers_stub"]])
def test_runs_until_sigterm(command: list[str]) -> None:
    process = start(command, WORLDOMETERS_PORT="0", WORLDOMETERS_FAULT="slow")
    assert process.stderr is not None
    ready = re.search(r"serving (http://127\.0\.0\.1:\d+/coronavirus/), fault slow", process.stderr.readline())
    assert ready is not None
    with requests.get(ready[1], stream=True, timeout=5) as response:  # a page that is being sent does not delay it
        assert next(response.iter_content(1)) == b"<"
        process.terminate()
        assert process.wait(timeout=5) == 0
    process.stderr.close()
