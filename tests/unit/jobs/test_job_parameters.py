"""What a job shows of its settings in Flink."""

from pathlib import Path

from jobs import settings as settings_module
from jobs.job_parameters import job_parameters
from jobs.settings import read_aggregator_settings, read_collector_settings

SETTINGS_SOURCE = Path(settings_module.__file__).read_text()


def test_the_effective_settings_are_shown_by_the_names_of_their_variables() -> None:
    collector = job_parameters(read_collector_settings({"BUFFER_FRAMES": "500", "START_FROM": "live"}))
    assert collector["BUFFER_FRAMES"] == "500"
    assert collector["START_FROM"] == "live"
    assert collector["FEED"] == "simulator"
    assert collector["KAFKA_TOPIC"] == "tweets"
    aggregator = job_parameters(read_aggregator_settings({}))
    assert aggregator["WINDOW_SECONDS"] == "20"
    assert aggregator["WORLDOMETERS_REFRESH_SECONDS"] == "60"
    for name in (*collector, *aggregator):
        assert f'"{name}"' in SETTINGS_SOURCE


def test_no_secret_is_shown(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim-5")
    kafka = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_USERNAME": "someone",
        "KAFKA_PASSWORD_FILE": str(password),
    }
    collector = read_collector_settings({**kafka, "WEBSOCKET_URL": "ws://me:geheim-1@host/?token=geheim-2"})
    aggregator = read_aggregator_settings(
        {**kafka, "MONGODB_URI": "mongodb://me:geheim-3@host", "WORLDOMETERS_URL": "http://me:geheim-4@host/"}
    )
    shown = str((job_parameters(collector), job_parameters(aggregator)))
    assert "geheim" not in shown
    assert "SASL_PLAINTEXT" in shown
