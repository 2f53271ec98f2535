"""Reads the watchdog's metrics."""

import re

import requests

from console.observations import Watchdog

LINE = re.compile(r"^simulator_restarts(_suppressed)?_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class WatchdogMetrics:
    """The watchdog's page of metrics. `read` raises requests' errors."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Watchdog:
        response = requests.get(self._url, timeout=5)
        response.raise_for_status()
        return parse(response.text)

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
