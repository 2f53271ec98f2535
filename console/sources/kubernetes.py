"""Reads the Warning events of the release's objects from the Kubernetes API."""

from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from console.observations import ClusterEvent, ClusterEvents

TIMEOUT_SECONDS = 5
# The token and the certificate that Kubernetes mounts into each pod with a ServiceAccount.
FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"
MAX_READ = 500
MAX_SHOWN = 20
MAX_MESSAGE = 300  # characters


class ReleaseEvents:
    """The newest warnings in a namespace. `read` raises requests' errors, OSError without a token, and KeyError.

    prefix: objects whose names begin with it belong to the release.
    """

    def __init__(self, namespace: str, prefix: str, server: str = API_SERVER, folder: Path = FOLDER) -> None:
        self._url = f"{server}/api/v1/namespaces/{namespace}/events"
        self._prefix = prefix
        self._folder = folder
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy inside the cluster

    def read(self) -> ClusterEvents:
        # Kubernetes replaces the token from time to time.
        token = (self._folder / "token").read_text()
        response = self._session.get(
            self._url,
            params={"fieldSelector": "type=Warning", "limit": str(MAX_READ)},
            headers={"Authorization": f"Bearer {token}"},
            verify=str(self._folder / "ca.crt"),
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        return ClusterEvents(tuple(newest(response.json()["items"], self._prefix)))


def newest(items: list[Any], prefix: str) -> list[ClusterEvent]:
    """The newest events of the objects whose names begin with `prefix`, newest first. items: of an EventList."""
    events = [event_of(item) for item in items if item["involvedObject"].get("name", "").startswith(prefix)]
    return sorted(events, key=lambda event: event.at, reverse=True)[:MAX_SHOWN]


def event_of(item: Any) -> ClusterEvent:
    """An event of the API. Newer clients set `eventTime` and `series`, older ones `lastTimestamp` and `count`."""
    involved, series = item["involvedObject"], item.get("series") or {}
    times = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    at = next((time for time in times if time), item["metadata"]["creationTimestamp"])
    return ClusterEvent(
        at=datetime.fromisoformat(at).timestamp(),
        reason=item.get("reason") or "?",
        what=f"{involved.get('kind', '?')} {involved['name']}",
        message=(item.get("message") or "")[:MAX_MESSAGE],
        count=series.get("count") or item.get("count") or 1,
    )
