"""A stub of https://www.worldometers.info/coronavirus/: the same tables, invented counts, faults on demand.

GET /coronavirus/: the page
GET /healthz: whether the server runs, and the fault, in JSON
GET /fault, PUT /fault: read or set the fault of the page, as text:
  none, error (HTTP 503), slow (ten characters a second for a minute), layout (other table ids),
  without-new-recovered (no such column, as in early 2020), garbage (not HTML), huge (endless)

Settings are environment variables:

WORLDOMETERS_HOST: * for every address of this host, IPv4 and IPv6
WORLDOMETERS_PORT: 0 for any free port
WORLDOMETERS_FAULT: the fault at the start
"""

import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

if not __package__:  # started as a file: then sys.path has the file's folder, not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulator.listening import EVERY, every_address

PAGE_PATH = "/coronavirus/"
FAULTS = ("none", "error", "slow", "layout", "without-new-recovered", "garbage", "huge")
DAY = 86_400  # seconds
START = 1_591_142_400  # 2020-06-03 00:00 GMT: the totals below are of this time
HEADERS = (
    "#",
    "Country,<br />Other",
    "Total<br />Cases",
    "New<br />Cases",
    "Total<br />Deaths",
    "New<br />Deaths",
    "Total<br />Recovered",
    "New<br />Recovered",
    "Active<br />Cases",
    "Serious,<br />Critical",
    "Tot&nbsp;Cases/<br />1M pop",
    "Tests/<br />\n<nobr>1M pop</nobr>\n",
    "Continent",
)
log = logging.getLogger("worldometers_stub")


class Region(NamedTuple):
    """A row of the table: a country, or what the page lists beside them."""

    name: str
    continent: str
    totals: tuple[int, int, int]  # cases, deaths, recovered at START; recovered 0: the region does not report them
    daily: tuple[int, int, int] = (0, 0, 0)  # by how much each total grows in a day


REGIONS = (
    Region("USA", "North America", (1_880_000, 108_000, 646_000), (21_000, 900, 19_800)),
    Region("Brazil", "South America", (556_000, 31_200, 240_000), (20_000, 1_000, 18_600)),
    Region("Russia", "Europe", (423_000, 5_000, 187_000), (8_600, 170, 8_200)),
    Region("Spain", "Europe", (287_000, 27_100, 0), (400, 2, 0)),
    Region("UK", "Europe", (278_000, 39_400, 0), (1_700, 250, 0)),
    Region("Italy", "Europe", (233_000, 33_500, 160_000), (330, 60, 260)),
    Region("India", "Asia", (207_000, 5_800, 100_000), (9_500, 260, 8_900)),
    Region("Iran", "Asia", (157_000, 7_900, 123_000), (3_000, 70, 2_800)),
    Region("Mexico", "North America", (97_000, 10_600, 70_000), (4_000, 420, 3_300)),
    Region("South Africa", "Africa", (35_800, 755, 18_300), (1_900, 50, 1_700)),
    Region("New Zealand", "Oceania", (1_504, 22, 1_481)),
    Region("Diamond Princess", "", (712, 13, 651)),  # a ship: its continent has no name on the real page either
)
CONTINENTS = {region.continent: [p for p in REGIONS if p.continent == region.continent] for region in REGIONS}


def _totals(regions: Sequence[Region], at: float) -> list[int]:
    """Sums of cases, deaths, recovered, active, critical at a time in seconds since 1970 UTC."""
    days = max(0.0, at - START) / DAY
    rows = [[t + int(d * days) for t, d in zip(p.totals, p.daily, strict=True)] for p in regions]
    cases, deaths, recovered = map(sum, zip(*rows, strict=True))
    return [cases, deaths, recovered, cases - deaths - recovered, sum((c - d - r) // 60 for c, d, r in rows)]


def _counts(regions: Sequence[Region], since: float, until: float) -> list[str]:
    """The eight counts of a row. *New* counts from `since` to `until`; a cell without any is blank."""
    totals = _totals(regions, until)
    total = [f"{count:,}" for count in totals]
    new = [f"{b - a:+,}" if b > a else "" for a, b in zip(_totals(regions, since), totals, strict=True)]
    if totals[2] == 0:
        total[2] = new[2] = total[3] = "N/A"
    return [total[0], new[0], total[1] + " ", new[1], total[2], new[2], total[3], total[4]]


def _table(table_id: str, headers: Sequence[str], since: float, until: float) -> str:
    """The rows in the real page's order: continents, the world, the regions, and the sums again."""

    def row(css_class: str, name: str, regions: Sequence[Region], continent: str, number: str = "") -> str:
        cells = dict(zip(HEADERS, [number, name, *_counts(regions, since, until), "", "", continent], strict=True))
        return "\n".join([f'<tr class="{css_class}">', *(f"<td>{cells[h]}</td>" for h in headers), "</tr>\n"])

    rows = [row("total_row_world", f"\n<nobr>{name}</nobr>\n", CONTINENTS[name], name) for name in CONTINENTS]
    rows.append(row("total_row_world", "World", REGIONS, "All"))
    rows += [row("", f'<a href="#">{p.name}</a>', [p], p.continent, str(i)) for i, p in enumerate(REGIONS, 1)]
    rows += [row("total_row", "Total:", CONTINENTS[name], name) for name in CONTINENTS]
    rows.append(row("total_row", "Total:", REGIONS, "All"))
    head = "".join(f'<th width="30">{header}</th>\n' for header in headers)
    return f'<table id="{table_id}">\n<thead><tr>\n{head}</tr></thead>\n<tbody>{"".join(rows)}</tbody>\n</table>\n'


def render_page(now: float, *, layout: str = "current") -> str:
    """The page at `now`, in seconds since 1970 UTC; *new* counts since midnight GMT.

    layout: a fault of the table (`layout`, `without-new-recovered`); any other text gives the usual table.
    """
    table_id = "covid_countries" if layout == "layout" else "main_table_countries"
    headers = [h for h in HEADERS if layout != "without-new-recovered" or h != "New<br />Recovered"]
    midnight = now - now % DAY
    tables = _table(f"{table_id}_today", headers, midnight, now)
    tables += _table(f"{table_id}_yesterday", headers, midnight - DAY, midnight)
    tables += _table(f"{table_id}_yesterday2", headers, midnight - 2 * DAY, midnight - DAY)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<script>var cur_table = '{table_id}_today';</script>\n</head>\n<body>\n{tables}</body>\n</html>\n"
    )


class PageServer(ThreadingHTTPServer):
    """Serves until it is shut down; `fault` may be set at any time. Raises OSError if it cannot listen."""

    def __init__(self, host: str, port: int, fault: str = "none", clock: Callable[[], float] = time.time) -> None:
        address = every_address() if host == EVERY else host
        if ":" in address:
            self.address_family = socket.AF_INET6
        super().__init__((address, port), _Handler)
        self.fault, self.clock = fault, clock


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = 10  # seconds without a byte from the client

    def do_GET(self) -> None:
        path, fault = urlsplit(self.path).path, self.server.fault
        if path == PAGE_PATH:
            with suppress(ConnectionError, TimeoutError):  # the client ends slow and huge pages
                self._send_page(fault)
        elif path == "/healthz":
            self._send(200, f'{{"status": "ok", "fault": "{fault}"}}', "application/json")
        elif path == "/fault":
            self._send(200, fault)
        else:
            self._send(404, f"not found: the page is {PAGE_PATH}")

    def do_PUT(self) -> None:
        fault = self.rfile.read(min(100, int(self.headers.get("Content-Length", 0)))).decode("latin-1").strip()
        if urlsplit(self.path).path != "/fault":
            self._send(404, "not found: only /fault can be set")
        elif fault not in FAULTS:
            self._send(400, f"allowed are {', '.join(FAULTS)}")
        else:
            self.server.fault = fault
            self._send(200, fault)

    def _send_page(self, fault: str) -> None:
        page = render_page(self.server.clock(), layout=fault)
        if fault == "error":
            self._send(503, "fault: error")
        elif fault == "garbage":
            self._send(200, "\x00\x01<\xff&#" * 10_000, "text/html")
        elif fault == "slow":
            self._send(200, "", "text/html")
            for character in page[:600]:
                self.wfile.write(character.encode())
                time.sleep(0.1)
        else:
            self._send(200, page, "text/html")
            while fault == "huge":
                self.wfile.write(b"<p>and so on</p>" * 4096)

    def _send(self, status: int, text: str, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.end_headers()  # without Content-Length, more may follow until the connection ends
        self.wfile.write(text.encode())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        # A query may contain a secret.
        self.log_message('"%s" %s', self.requestline.partition("?")[0], str(code))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.info("%s " + format, self.address_string(), *args)


def read_settings(environ: Mapping[str, str]) -> tuple[str, int, str]:
    """Return host, port and fault. Raises ValueError, which names the setting, its value and what is allowed."""
    host = environ.get("WORLDOMETERS_HOST") or "127.0.0.1"
    port = environ.get("WORLDOMETERS_PORT") or "5556"
    fault = environ.get("WORLDOMETERS_FAULT") or "none"
    if host != EVERY and not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        raise ValueError(f"WORLDOMETERS_HOST={host!r}: a host name, an IP address or {EVERY} is allowed")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise ValueError(f"WORLDOMETERS_PORT={port!r}: a whole number from 0 (any free port) to 65535 is allowed")
    if fault not in FAULTS:
        raise ValueError(f"WORLDOMETERS_FAULT={fault!r}: one of {', '.join(FAULTS)} is allowed")
    return host, int(port), fault


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGTERM or SIGINT. Exit status: 0, or 1 when it cannot listen, 2 for a bad setting."""
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        host, port, fault = read_settings(environ)
        server = PageServer(host, port, fault)
    except ValueError as error:
        log.error("%s", error)
        return 2
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", host, port, error.strerror)
        return 1
    with server:
        shown = f"[{host}]" if ":" in host else host
        log.info("serving http://%s:%s%s, fault %s", shown, server.server_port, PAGE_PATH, fault)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
