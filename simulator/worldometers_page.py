"""A stand-in for https://www.worldometers.info/coronavirus/: its tables, invented counts, faults on demand.

GET /coronavirus/ is the page, GET /healthz says that the server runs, GET and PUT /fault show and set, as text,
what is wrong with the page: none, error (HTTP 503), slow (bytes trickle for a minute), layout (the table has
another id), without-new-recovered (as before June 2020), garbage (not HTML) or huge (it never ends).
Settings: WORLDOMETERS_HOST, WORLDOMETERS_PORT (0: any free one), WORLDOMETERS_FAULT.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

PAGE_PATH = "/coronavirus/"
FAULTS = ("none", "error", "slow", "layout", "without-new-recovered", "garbage", "huge")
DAY = 86_400  # seconds
START = 1_591_142_400  # 2020-06-03 00:00 GMT, when the totals below were reached
HEADERS = (
    *("#", "Country,<br />Other", "Total<br />Cases", "New<br />Cases", "Total<br />Deaths", "New<br />Deaths"),
    *("Total<br />Recovered", "New<br />Recovered", "Active<br />Cases", "Serious,<br />Critical"),
    *("Tot&nbsp;Cases/<br />1M pop", "Total<br />Tests", "Tests/<br />\n<nobr>1M pop</nobr>\n", "Continent"),
)
log = logging.getLogger("worldometers_page")


class Place(NamedTuple):
    name: str
    continent: str
    totals: tuple[int, int, int]  # cases, deaths, recovered
    daily: tuple[int, int, int] = (0, 0, 0)
    reports_recovered: bool = True  # else they show as N/A and count as none in the sums, as on the real page


PLACES = (
    Place("USA", "North America", (1_880_000, 108_000, 646_000), (21_000, 900, 19_800)),
    Place("Brazil", "South America", (556_000, 31_200, 240_000), (20_000, 1_000, 18_600)),
    Place("Russia", "Europe", (423_000, 5_000, 187_000), (8_600, 170, 8_200)),
    Place("Spain", "Europe", (287_000, 27_100, 0), (400, 2, 0), reports_recovered=False),
    Place("UK", "Europe", (278_000, 39_400, 0), (1_700, 250, 0), reports_recovered=False),
    Place("Italy", "Europe", (233_000, 33_500, 160_000), (330, 60, 260)),
    Place("India", "Asia", (207_000, 5_800, 100_000), (9_500, 260, 8_900)),
    Place("Peru", "South America", (174_000, 4_700, 69_000), (3_900, 120, 3_600)),
    Place("Turkey", "Asia", (165_000, 4_600, 129_000), (870, 24, 830)),
    Place("Iran", "Asia", (157_000, 7_900, 123_000), (3_000, 70, 2_800)),
    Place("Mexico", "North America", (97_000, 10_600, 70_000), (4_000, 420, 3_300)),
    Place("South Africa", "Africa", (35_800, 755, 18_300), (1_900, 50, 1_700)),
    Place("New Zealand", "Oceania", (1_504, 22, 1_481)),
    Place("Diamond Princess", "", (712, 13, 651)),  # a ship: its continent has no name on the real page either
)


def _totals(places: Sequence[Place], at: float) -> list[int]:
    """Sums of cases, deaths, recovered, active, critical at a time in seconds since 1970."""
    days = max(0.0, at - START) / DAY
    sums = [0] * 5
    for place in places:
        pairs = zip(place.totals, place.daily, strict=True)
        cases, deaths, recovered = (total + int(daily * days) for total, daily in pairs)
        active = cases - deaths - recovered
        sums = list(map(sum, zip(sums, (cases, deaths, recovered, active, active // 60), strict=True)))
    return sums


def _cells(places: Sequence[Place], since: float, until: float) -> list[str]:
    """The eight counts of a row; *new* is from `since` to `until`, and blank if nothing is."""
    totals = _totals(places, until)
    total = [f"{count:,}" for count in totals]
    new = [f"{b - a:+,}" if b > a else "" for a, b in zip(_totals(places, since), totals, strict=True)]
    if not any(place.reports_recovered for place in places):
        total[2] = new[2] = total[3] = "N/A"
    return [total[0], new[0], total[1] + " ", new[1], total[2], new[2], total[3], total[4]]


def _table(table_id: str, since: float, until: float, with_new_recovered: bool) -> str:
    """Continents come first, then the world, the places, and the sums again, in rows like the real ones."""
    groups = {name: [p for p in PLACES if p.continent == name] for name in dict.fromkeys(p.continent for p in PLACES)}
    rows: list[tuple[str, str, str, Sequence[Place], str]] = [
        *(("total_row_world row_continent", "", f"\n<nobr>{name}</nobr>\n", groups[name], name) for name in groups),
        ("total_row_world", "", "World", PLACES, "All"),
        *(("", str(i), f'<a href="#">{p.name}</a>', [p], p.continent) for i, p in enumerate(PLACES, start=1)),
        *(("row_continent total_row", "", "Total:", groups[name], name) for name in groups),
        ("total_row", "", "Total:", PLACES, "All"),
    ]
    table = [(f'<tr class="{row_class}">', number, name, *_cells(group, since, until), "", "", "", continent)
             for row_class, number, name, group, continent in rows]
    return ""
