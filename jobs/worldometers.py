"""The world's COVID-19 counters, read from the HTML table of Worldometers.

Source: `WORLDOMETERS_URL`, a page without an API, last updated in April 2024. `parse_counters` parses it without I/O,
`PageFetcher` downloads it, `CachedCounters` decides when to download and what to serve while the page is unavailable.
"""

import functools
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from bs4 import BeautifulSoup

from jobs.addresses import bypasses_proxy
from jobs.counters import Counters
from jobs.defaults import WORLDOMETERS_URL
from jobs.redaction import redact_text, redact_url

# Two tables of the same shape follow: yesterday, yesterday2. Until March 2020 there was one table, with the second id.
TABLE_IDS = ("main_table_countries_today", "main_table_countries")
_COUNTS = ["Total Cases", "Total Deaths", "Total Recovered", "New Cases", "New Deaths", "New Recovered"]
_COUNTS += ["Active Cases", "Serious, Critical"]  # the column headers, in the order of the fields of Counters

_TABLE_STARTS = [re.compile(rf"<table(?=\s)[^<>]*\sid=[\"']?{name}[\"'\s>]", re.IGNORECASE) for name in TABLE_IDS]
_ROW_START = re.compile(r"(?=<tr[\s>])", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Attributes are not used. In archived pages those of links are long.
_ATTRIBUTES = re.compile(r"(<[a-z0-9]+)\s[^<>]*(?=>)", re.IGNORECASE)
_MAX_ROWS, _MAX_ROW_SIZE = 300, 3_000  # in characters without attributes; the real table has 240 rows of under 1,300
_COUNT = re.compile(r"[+-]?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})")  # 64 bits, MongoDB's integers

USER_AGENT = "data-collection/0.1"

log = logging.getLogger(__name__)
# The warnings of urllib3 show the complete URL.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class PageError(Exception):
    """The page does not have the expected structure. The text says what is missing or wrong."""


def parse_counters(html: str | bytes) -> Counters:
    """Read the row *World* of today's table. Columns are found by their headers, in any order.

    A page of early 2020 has a row *Total:* instead. Today's page has one *Total:* per continent. So such a row is used
    only if it is the only one.

    A missing header gives None (early pages of 2020 have no *New Recovered*), except *Total Cases*. Raises PageError

    - if the table, that header, the row or all of its counts are missing,
    - if the row does not have one cell per header,
    - if a cell is neither a count, nor blank, nor N/A: a changed page must not look like an empty one.

    Takes 0.03 s for the real page of 1.4 MB, since ten rows reach the HTML parser; at worst 20 s.
    """
    rows = _read_rows(html)
    header = next((row for row in rows if "Total Cases" in row), None)
    if header is None:
        raise PageError("the table has no column 'Total Cases'")
    world = _find_world(header, rows)
    if len(world) != len(header):
        raise PageError(f"row 'World' has {len(world)} cells under {len(header)} headers")
    cells = dict(zip(header, world, strict=True))
    counters = Counters(*(_read_count(column, cells.get(column, "")) for column in _COUNTS))
    if all(count is None for count in counters):
        raise PageError("row 'World' has no counts")
    return counters


def _find_world(header: list[str], rows: Iterator[list[str]]) -> list[str]:
    totals = []
    for row in rows:
        named = set(zip(header, row, strict=False))
        if ("Country, Other", "World") in named:
            return row
        if ("Country, Other", "Total:") in named:
            totals.append(row)
    if len(totals) != 1:
        raise PageError("the table has no row 'World' in a column 'Country, Other'")
    return totals[0]


def _read_rows(html: str | bytes) -> Iterator[list[str]]:
    """Yield the texts of the cells of today's table, row by row. A row that is not requested is not parsed."""
    # The page declares UTF-8. Detecting the encoding would cost seconds for a page that is not HTML.
    text = html.decode(errors="replace") if isinstance(html, bytes) else html
    start = next((found for pattern in _TABLE_STARTS if (found := pattern.search(text))), None)
    if start is None:
        raise PageError(f"page has no table {' or '.join(TABLE_IDS)}")
    end = text.find("</table>", start.end())
    if end < 0:  # the last cell may be cut inside a number
        raise PageError("the table has no end: the page is cut off")
    rows = _ROW_START.split(_ATTRIBUTES.sub(r"\1", _COMMENT.sub("", text[start.start() : end])))[1:]
    if len(rows) > _MAX_ROWS or max(map(len, rows), default=0) > _MAX_ROW_SIZE:
        raise PageError(f"the table has over {_MAX_ROWS} rows, or one over {_MAX_ROW_SIZE} characters")
    for row in rows:
        cells = BeautifulSoup(row, "html.parser").find_all(["th", "td"])
        # Headers contain <br>, so tags separate words. Runs of white space and &nbsp; become one space.
        yield [" ".join(cell.get_text(" ").split()) for cell in cells]


def _read_count(column: str, cell: str) -> int | None:
    """`+1,234` is 1234, `-1` (a correction) is -1, blank and `N/A` are None. Raises PageError for anything else."""
    if cell in ("", "N/A"):
        return None
    if not _COUNT.fullmatch(cell):
        raise PageError(f"column {column!r} of row 'World' has {cell[:40]!r}, which is not a count")
    return int(cell.replace(",", ""))


def _skip_redirect_body(response: requests.Response, **_: object) -> None:
    """A response hook. Without it `requests` reads the body of a redirect to its end, which may never arrive."""
    if response.is_redirect:
        response.close()


@dataclass
class PageFetcher:
    """Call it with a URL to download the page: returns the body in bytes. Every failure raises an exception.

    A call takes at most `deadline` seconds, even if DNS hangs or the site sends its headers slowly, which no timeout of
    `requests` covers: a daemon thread does the work. At most three threads are stuck at a time.
    """

    deadline: float = 10.0
    max_bytes: int = 8_000_000  # after decompression
    time_limits: tuple[float, float] = (3.0, 5.0)  # seconds: to connect to one address, between two reads
    _threads: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(3), init=False)

    def __call__(self, url: str) -> bytes:
        if not self._threads.acquire(blocking=False):
            raise requests.Timeout("earlier downloads are still stuck")
        body: Future[bytes] = Future()
        threading.Thread(target=self._work, args=(url, body), name="worldometers", daemon=True).start()
        try:
            return body.result(self.deadline)
        except TimeoutError:
            raise requests.Timeout(f"no complete page within {self.deadline:g} s") from None

    def _work(self, url: str, body: Future[bytes]) -> None:
        try:
            body.set_result(self._download(url, time.monotonic() + self.deadline))
        except Exception as error:  # noqa: BLE001 - result() raises it in the thread that called
            body.set_exception(error)
        finally:
            self._threads.release()

    def _download(self, url: str, end: float) -> bytes:
        body = bytearray()
        with requests.Session() as session:
            session.headers["User-Agent"] = USER_AGENT
            session.trust_env = not bypasses_proxy(urlsplit(url).hostname or "")  # the environment's proxies
            session.max_redirects = 3
            session.hooks["response"] = [_skip_redirect_body]
            with session.get(url, timeout=self.time_limits, stream=True) as response:
                if response.status_code != 200:
                    raise requests.HTTPError(f"HTTP status {response.status_code}")
                # read1 returns what has arrived. iter_content would wait for a full chunk, beyond the deadline.
                while chunk := response.raw.read1(65_536, decode_content=True):
                    body += chunk
                    if len(body) > self.max_bytes:
                        raise requests.RequestException(f"page is larger than {self.max_bytes} bytes")
                    if time.monotonic() > end:
                        raise TimeoutError
        return bytes(body)


@dataclass
class CachedCounters:
    """The counters of the page at `url`, fetched at most once per `refresh_seconds`, including failed attempts.

    While the site fails, `get` returns the last counters until they are `max_stale_seconds` old, then None. Any thread
    may call `get`. It never raises because of the network or the page, and takes at most as long as `fetch` (10 s) and
    `parse_counters` (0.03 s). While one thread fetches, the others wait.

    clock: seconds; must not run backwards.
    """

    url: str = WORLDOMETERS_URL
    fetch: Callable[[str], bytes] = field(default_factory=PageFetcher)
    clock: Callable[[], float] = time.monotonic
    refresh_seconds: float = 60.0
    max_stale_seconds: float = 24 * 60 * 60.0
    fetches: int = field(default=0, init=False)  # attempts, including failures
    failures: int = field(default=0, init=False)
    _last_attempt: float = field(default=float("-inf"), init=False)
    _last_success: float = field(default=float("-inf"), init=False)
    _last_counters: Counters | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def age(self) -> float | None:
        """Seconds since the start of the last successful fetch; None before the first one."""
        return self.clock() - self._last_success if self._last_counters else None

    def get(self) -> Counters | None:
        with self._lock:
            now = self.clock()
            if now - self._last_attempt >= self.refresh_seconds:
                self._refresh(now)
            return self._last_counters if now - self._last_success <= self.max_stale_seconds else None

    def _refresh(self, now: float) -> None:
        failing = self._last_success < self._last_attempt
        self.fetches, self._last_attempt = self.fetches + 1, now
        try:
            self._last_counters, self._last_success = parse_counters(self.fetch(self.url)), now
            if failing:
                log.info("counters from %s again", redact_url(self.url))
        except Exception as error:  # noqa: BLE001 - a window must not fail because a web page is unavailable
            self.failures += 1
            age = now - self._last_success
            served = f"serving those of {age:.0f} s ago" if age <= self.max_stale_seconds else "serving none"
            shown, reason = redact_url(self.url), redact_text(f"{type(error).__name__}: {error}", self.url)
            log.warning("no counters from %s: %s; %s", shown, reason, served)


@functools.cache
def shared_counters(url: str, refresh_seconds: float) -> CachedCounters:
    """The counters, shared by all callers in this process: they cause only one request."""
    return CachedCounters(url, refresh_seconds=refresh_seconds)
