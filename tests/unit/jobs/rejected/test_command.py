"""The command: its settings and its errors."""

from pathlib import Path

import pytest

from jobs.audit import kafka_reader
from jobs.rejected import __main__ as command
from jobs.rejected.entries import Place
from jobs.settings import SettingError


def test_the_settings() -> None:
    settings = command.read_settings(
        {"FEED": "text", "KAFKA_ID_PREFIX": "mine", "KAFKA_TOPIC": "posts", "SHOW": "1/23"}
    )
    assert (settings.show, settings.replay, settings.discard) == (Place(1, 23), "", "")
    assert settings.names == ("posts", "tweets.rejected", "text")
    # The collector's ids begin with mine/collector-text/posts/, and its user may write with mine/collector-*.
    assert settings.transactional_id == "mine/collector-rejected/posts"
    assert command.read_settings({}).show is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SHOW": "1"}, "SHOW='1': the partition and the offset"),
        ({"REPLAY": "\n"}, "REPLAY="),
        ({"REPLAY": "all", "DISCARD": "all"}, "DISCARD: together with REPLAY nothing is allowed"),
        ({"KAFKA_TOPIC": "tweets.rejected"}, "KAFKA_REJECTED_TOPIC"),
        ({"FEED": "nothing"}, "FEED='nothing'"),
    ],
)
def test_settings_that_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        command.read_settings(environment)


@pytest.mark.parametrize("asked", [{}, {"SHOW": "0/1"}, {"REPLAY": "all"}, {"DISCARD": "empty"}])
def test_a_kafka_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, asked: dict[str, str]
) -> None:
    monkeypatch.setattr(kafka_reader, "TIMEOUT_MS", 200)
    (tmp_path / "password").write_text("secret")
    secured = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_USERNAME": "u"}
    secured |= {"KAFKA_PASSWORD_FILE": str(tmp_path / "password"), "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert command.main(secured | asked) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: no Kafka answers at KAFKA_BOOTSTRAP_SERVERS='127.0.0.1:1'")
    assert "secret" not in printed.err + printed.out


def test_a_wrong_setting_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main({"SHOW": "x"}) == 2
    assert capsys.readouterr().err.startswith("error: SHOW='x'")


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    assert command.main({}) == 130
    assert capsys.readouterr().err.startswith("stopped")
