"""Reads the Warning events of the release's objects from the Kubernetes API."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from console.observations import ClusterEvent, ClusterEvents
from console.sources.http import HttpClient

# The token and the certificate that Kubernetes mounts into each pod with a ServiceAccount.
FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"
ASKED = {"fieldSelector": "type=Warning", "limit": "500"}
MAX_SHOWN = 20
MAX_MESSAGE = 300  # characters


class ReleaseEvents:
    """The newest warnings in a namespace. `read` raises HttpClient's errors, OSError without a token, and KeyError.

    prefix: objects whose names begin with it belong to the release.
    """

    def __init__(self, namespace: str, prefix: str, server: str = API_SERVER, folder: Path = FOLDER) -> None:
        self._server = server
        self._path = f"/api/v1/namespaces/{namespace}/events?{urlencode(ASKED)}"
        self._prefix = prefix
        self._folder = folder
        self._client: HttpClient | None = None

    def read(self) -> ClusterEvents:
        # Kubernetes replaces the token from time to time.
        token = (self._folder / "token").read_text()
        client, self._client = self._client or self._connect(), None
        found = client.json(self._path, {"Authorization": f"Bearer {token}"})
        self._client = client  # after an error the certificate is read again
        return ClusterEvents(tuple(newest(found["items"], self._prefix)))

    def _connect(self) -> HttpClient:
        https = self._server.startswith("https://")
        return HttpClient(self._server, ssl.create_default_context(cafile=self._folder / "ca.crt") if https else None)


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
