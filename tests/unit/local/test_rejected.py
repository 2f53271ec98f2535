"""`make rejected` on the running demo."""

import pytest

from jobs.rejected import __main__ as command
from local.rejected import on_demo
from local.settings import Ports, Settings


@pytest.mark.parametrize("named", [True, False])
def test_it_runs_with_the_demos_kafka_and_the_feed_that_the_user_names(
    monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    found: dict[str, str] = {}
    monkeypatch.setattr(command, "main", lambda environment: found.update(environment) or 0)
    monkeypatch.setenv("FEED", "text" if named else "")
    monkeypatch.setenv("REPLAY", "all")
    assert on_demo(Settings(ports=Ports(kafka=1), feed="text" if named else "simulator")) == 0
    assert (found["KAFKA_BOOTSTRAP_SERVERS"], found["REPLAY"]) == ("127.0.0.1:1", "all")
    assert (found.get("FEED") == "text") is named
