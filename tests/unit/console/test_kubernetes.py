"""What the console reads of the events of Kubernetes."""

import http.server
import json
import threading
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from console.observations import ClusterEvent
from console.sources.kubernetes import MAX_SHOWN, ReleaseEvents, newest

OLD = {
    "metadata": {"creationTimestamp": "2026-11-18T17:00:00Z"},
    "involvedObject": {"kind": "Pod", "name": "demo-data-collection-collector-1"},
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "count": 12,
    "lastTimestamp": "2026-11-18T17:45:00Z",
    "eventTime": None,
}
NEW = {
    "metadata": {"creationTimestamp": "2026-11-18T17:40:00Z"},
    "involvedObject": {"kind": "Pod", "name": "demo-data-collection-simulator-2"},
    "reason": "FailedScheduling",
    "message": "0/1 nodes are available",
    "lastTimestamp": None,
    "eventTime": "2026-11-18T17:40:00.123456Z",
    "series": {"count": 3, "lastObservedTime": "2026-11-18T17:46:00.000000Z"},
}
FOREIGN = {**OLD, "involvedObject": {"kind": "Pod", "name": "another-release"}}


def test_both_forms_of_events_are_read_newest_first_and_others_are_left_out() -> None:
    assert newest([OLD, FOREIGN, NEW], "demo-data-collection") == [
        ClusterEvent(
            1_795_023_960.0, "FailedScheduling", "Pod demo-data-collection-simulator-2", "0/1 nodes are available", 3
        ),
        ClusterEvent(
            1_795_023_900.0,
            "BackOff",
            "Pod demo-data-collection-collector-1",
            "Back-off restarting failed container",
            12,
        ),
    ]


def test_no_more_are_shown_than_fit() -> None:
    assert len(newest([OLD] * 100, "demo")) == MAX_SHOWN


@pytest.fixture
def api_server() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A stub of the API server: its address, and the (path, Authorization) of each request."""
    asked: list[tuple[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200 if self.headers["Authorization"] == "Bearer right" else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"items": [OLD, NEW]}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_warnings_are_asked_with_the_token_of_the_moment(
    api_server: tuple[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    address, asked = api_server
    source = ReleaseEvents("apps", "demo", address, tmp_path)
    (tmp_path / "ca.crt").write_text("")
    (tmp_path / "token").write_text("old")
    with pytest.raises(HTTPException, match="status 401"):
        source.read()
    (tmp_path / "token").write_text("right")
    assert [event.reason for event in source.read().newest] == ["FailedScheduling", "BackOff"]
    path = urlsplit(asked[-1][0])
    assert path.path == "/api/v1/namespaces/apps/events"
    assert parse_qs(path.query)["fieldSelector"] == ["type=Warning"]
