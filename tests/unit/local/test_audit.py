"""The settings of the audit of the running demo."""

from pathlib import Path

from local.audit import demo_environment
from local.settings import Ports, Settings


def test_the_demos_environment() -> None:
    environment = demo_environment(Settings(Path("/state"), Ports(kafka=1), feed="text", window_seconds=5))
    assert environment == {
        "FEED": "text",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "MONGODB_URI_FILE": "/state/run/mongodb-uri",
        "WINDOW_SECONDS": "5",
    }


def test_the_feed_is_the_running_demos(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    settings.run.mkdir()
    settings.feed_file.write_text("/my/feed.yaml")
    assert demo_environment(settings)["FEED"] == "/my/feed.yaml"
