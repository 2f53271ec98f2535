"""The demo's display, as lines and on a terminal."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.counters import Counters
from local import view
from local.settings import Settings
from local.stack import Step

DOCUMENT: dict[str, Any] = {
    "hash": "h",
    "content": ["first [bold]post", "second post"],
    "timestamp": "2026-11-24T08:00:20Z",
    **dict.fromkeys(Counters._fields),
    "total_cases_count": 704_753_890,
}


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160, highlight=False)
    steps = [Step("Kafka", "done", 1.0, 3.5), Step("Flink", "done", 1.0, 9.0)]
    with view.screen(console, {"Flink UI": "http://here:8081"}) as screen:
        screen.steps(steps)
        screen.windows([DOCUMENT], [DOCUMENT])
        screen.note("the simulator died and is being restarted")
    return out.getvalue()


def test_lines_elsewhere() -> None:
    text = shown(terminal=False)
    assert "Kafka: done (2.5 s)" in text
    assert "Flink UI: http://here:8081" in text
    assert "2026-11-24T08:00:20Z  2 posts  cases 704,753,890, deaths -" in text
    assert "second post" in text
    assert "the simulator died and is being restarted" in text


def test_a_live_view_on_a_terminal() -> None:
    text = shown(terminal=True)
    for part in ("window end", "2026-11-24T08:00:20Z", "704,753,890", "second post", "http://here:8081", "Ctrl-C"):
        assert part in text


def test_a_password_in_the_users_uri_is_not_shown() -> None:
    shown_addresses = view.addresses(Settings(mongodb_uri="mongodb://me:s3cret@host/"))
    assert "s3cret" not in str(shown_addresses)


def test_the_feeds_server_is_shown_without_a_token(tmp_path: Path) -> None:
    file = tmp_path / "feed.yaml"
    file.write_text("{name: mine, connect: {urls: ['wss://me:s3cret@feed.example/?key=s3cret']}, post: {text: text}}")
    assert view.addresses(Settings(feed=str(file)))["posts"] == "wss://feed.example/"
    assert view.addresses(Settings())["posts"] == "ws://127.0.0.1:5555"


def test_the_time_line_of_a_start_is_in_order() -> None:
    times = {"Flink cluster": 16.4, "Kafka": 14.2, "job": 29.0}
    steps = [Step(name, "done", 10.0, ended) for name, ended in times.items()]
    assert view.time_line(steps, 10.0, 34.6) == "Kafka 4 s, Flink cluster 6 s, job 19 s, the first document 25 s"
