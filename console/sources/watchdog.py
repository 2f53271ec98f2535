"""Reads the watchdog's metrics."""

import re

from console.observations import Watchdog
from console.sources.http import HttpClient

LINE = re.compile(r"^simulator_restarts(_suppressed)?_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class WatchdogMetrics:
    """The watchdog's page of metrics. `read` raises HttpClient's errors."""

    def __init__(self, url: str) -> None:
        self._client = HttpClient(url)

    def read(self) -> Watchdog:
        return parse(self._client.text())

    def close(self) -> None:
        pass


def parse(text: str) -> Watchdog:
    restarts: dict[str, int] = {}
    suppressed: dict[str, int] = {}
    for kind, labels, value in LINE.findall(text):
        named = dict(LABEL.findall(labels))
        if count := int(float(value)):
            if kind:
                suppressed[f"{named.get('reason', '?')}, held by {named.get('held_by', '?')}"] = count
            else:
                restarts[named.get("reason", "?")] = count
    return Watchdog(restarts, suppressed)
