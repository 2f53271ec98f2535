"""The watchdog's settings: defaults, limits, what is refused; and the jobs' settings of Kafka mean the same here."""

from pathlib import Path

import pytest

import jobs.settings
from jobs.kafka_security import client_options, read_files
from jobs.settings import read_collector_settings
from simulator.watchdog.policy import Limits
from simulator.watchdog.settings import NUMBERS, Kafka, SettingError, read_settings


def test_the_defaults() -> None:
    settings = read_settings(dict.fromkeys(NUMBERS, ""))
    assert settings.limits == Limits()
    assert settings.kafka == Kafka()
    assert (settings.secret, settings.port, settings.metrics_port) == ("", 5555, 9249)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_limits_of_a_number(name: str) -> None:
    least, most, _ = NUMBERS[name]
    for value in (least, most):
        assert (
            value in vars(read_settings({name: str(value)})).values()
            or value in vars(read_settings({name: str(value)}).limits).values()
        )
    for wrong in (str(least - 1), str(most + 1), "1.5", "ten", " 7", "٣"):
        with pytest.raises(SettingError) as caught:
            read_settings({name: wrong})
        assert str(caught.value) == f"{name}={wrong!r}: a whole number from {least} to {most} is allowed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAMESPACE", "Upper"),
        ("SIMULATOR_DEPLOYMENT", "two words"),
        ("SIMULATOR_CONFIGMAP", "-"),
        ("SIMULATOR_SECRET", "a/b"),
        ("SIMULATOR_SELECTOR", "no selector"),
        ("COLLECTOR", "a_b"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("KAFKA_TOPIC", "a topic"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_CA_FILE", "ca.pem"),
    ],
)
def test_what_is_refused_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}='{value}': .* is allowed$"):
        read_settings({name: value})


@pytest.mark.parametrize("missing", ["KAFKA_USERNAME", "KAFKA_PASSWORD_FILE"])
def test_a_login_is_needed_with_sasl(missing: str) -> None:
    login = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "me", "KAFKA_PASSWORD_FILE": "/password"}
    with pytest.raises(SettingError, match=missing):
        read_settings({**login, missing: ""})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_kafka_is_reached_as_by_the_jobs(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret pass'word")
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2", "KAFKA_SECURITY_PROTOCOL": protocol, "KAFKA_TOPIC": "posts"}
    if protocol.startswith("SASL_"):
        environ |= {"KAFKA_USERNAME": "me", "KAFKA_PASSWORD_FILE": str(tmp_path / "password")}
    if protocol.endswith("SSL"):
        environ |= {"KAFKA_CA_FILE": "/ca.pem"}
    job, kafka = read_collector_settings(environ), read_settings(environ).kafka
    assert (kafka.bootstrap_servers, kafka.topic) == (job.bootstrap_servers, job.topic)
    expected = client_options(job.security, "s3cret pass'word")
    assert kafka.options() == {"bootstrap_servers": "a:1,b:2", **expected}


@pytest.mark.parametrize("password", ["s3cret\n", "", "s3 cr\u00e9t", 's3"cret', "s3\\cret"])
def test_a_password_that_the_jobs_refuse_is_refused_too(password: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(password)
    environ = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "me", "KAFKA_PASSWORD_FILE": str(file)}
    with pytest.raises(SettingError) as caught:
        read_settings(environ).kafka.options()
    with pytest.raises(jobs.settings.SettingError) as caught_in_jobs:
        read_files(read_collector_settings(environ).security)
    assert str(caught.value) == str(caught_in_jobs.value)
    assert "s3" not in str(caught.value)
