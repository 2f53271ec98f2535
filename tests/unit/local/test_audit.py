"""The settings of the audit of the running demo."""

from pathlib import Path

from local.audit import demo_environment
from local.settings import Ports, Settings


def test_the_demos_environment() -> None:
    environment = demo_environment(Settings(Path("/state"), Ports(kafka=1), window_seconds=5))
    assert environment == {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "MONGODB_URI_FILE": "/state/run/mongodb-uri",
        "WINDOW_SECONDS": "5",
    }
