"""The watchdog's settings, read once from the environment.

The Kafka settings have the names and meanings of the jobs' settings. The watchdog's image has no code of the jobs, so
they are written twice; unit tests compare both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.watchdog.policy import Limits

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISM = "SCRAM-SHA-512"
# Copies of the patterns in jobs/addresses.py; a test compares both.
PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST = r"(?:\[[0-9a-fA-F:.]+\]|[^\]\[\s@/:?#,'\\]+)"
SERVERS = f"{HOST}:{PORT}(?:,{HOST}:{PORT})*"
# What a password may consist of: the Java clients put the whole file between quotes.
PRINTABLE = r"[ -!#-\[\]-~]+"
PRINTABLE_ALLOWED = 'printable ASCII characters other than " and \\, without a line break at the end,'
DNS_NAME = "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
# Settings that are integers. name: (minimum, maximum, default)
NUMBERS: Mapping[str, tuple[int, int, int]] = {
    "NOT_READY_SECONDS": (1, 3600, 20),
    "CRASH_LOOP_SECONDS": (1, 3600, 60),
    "NO_SEND_SECONDS": (1, 3600, 30),
    "TOPIC_STALLED_SECONDS": (1, 3600, 60),
    "COOLDOWN_SECONDS": (1, 3600, 60),
    "BACK_OFF_MAX_SECONDS": (1, 86_400, 1800),
    "RECOVERED_SECONDS": (1, 86_400, 300),
    "RESTARTS_PER_HOUR": (1, 60, 6),
    "POLL_SECONDS": (1, 60, 5),
    "WATCH_SILENT_SECONDS": (30, 3600, 120),
}


class SettingError(ValueError):
    """A setting has a value that is not allowed. The text names the setting, the value and what is allowed."""


@dataclass(frozen=True)
class Kafka:
    """How the watchdog reaches Kafka."""

    bootstrap_servers: str = "localhost:9092"  # host:port[,host:port...]
    topic: str = "tweets"
    protocol: str = "PLAINTEXT"  # one of SECURITY_PROTOCOLS
    username: str = ""  # with SASL_PLAINTEXT and SASL_SSL
    password_file: str = ""  # with SASL_PLAINTEXT and SASL_SSL
    ca_file: str | None = None  # PEM file with the CA of the broker certificates; None for the system trust store

    def options(self) -> dict[str, Any]:
        """Options for kafka-python. The password is read anew with each call, since the file may have changed.

        Raises OSError when the file cannot be read, and SettingError when the jobs' clients could not use its content.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.protocol,
            "ssl_cafile": self.ca_file,
        }
        if self.username:
            options |= {
                "sasl_mechanism": SASL_MECHANISM,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self._password(),
            }
        return options

    def _password(self) -> str:
        password = Path(self.password_file).read_bytes().decode("latin-1")
        if not re.fullmatch(PRINTABLE, password):
            raise SettingError(
                f"KAFKA_PASSWORD_FILE={self.password_file!r} (content not shown): {PRINTABLE_ALLOWED} are allowed"
            )
        return password


@dataclass(frozen=True)
class Settings:
    """All settings of the watchdog."""

    namespace: str  # of all objects below
    deployment: str  # name of the simulator's Deployment
    selector: str  # label selector of the simulator's pods
    configmap: str  # name of the ConfigMap with the simulator's settings
    secret: str  # name of the Secret with the simulator's settings; "" when there is none
    port: int  # of the simulator's /healthz
    collector: str  # name of the collector's FlinkDeployment
    kafka: Kafka
    limits: Limits
    poll_seconds: int  # between two rounds
    watch_silent_seconds: int  # how long a watch may differ from the API before the watchdog's /healthz fails
    metrics_port: int


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings. An unset or empty variable means the default. Raises SettingError."""
    number = {name: integer(environ, name, *rule) for name, rule in NUMBERS.items()}
    return Settings(
        namespace=text(environ, "NAMESPACE", "default", DNS_NAME, "a name"),
        deployment=text(environ, "SIMULATOR_DEPLOYMENT", "data-collection-simulator", DNS_NAME, "a name"),
        selector=text(environ, "SIMULATOR_SELECTOR", "app.kubernetes.io/component=simulator", r"\S+=\S+", "a selector"),
        configmap=text(environ, "SIMULATOR_CONFIGMAP", "data-collection-simulator", DNS_NAME, "a name"),
        secret=text(environ, "SIMULATOR_SECRET", "", f"({DNS_NAME})?", "a name or nothing"),
        port=integer(environ, "SIMULATOR_PORT", 1, 65535, 5555),
        collector=text(environ, "COLLECTOR", "data-collection-collector", DNS_NAME, "a name"),
        kafka=read_kafka(environ),
        limits=Limits(
            not_ready=number["NOT_READY_SECONDS"],
            crash_loop=number["CRASH_LOOP_SECONDS"],
            no_send=number["NO_SEND_SECONDS"],
            topic_stalled=number["TOPIC_STALLED_SECONDS"],
            cooldown=number["COOLDOWN_SECONDS"],
            back_off_max=number["BACK_OFF_MAX_SECONDS"],
            recovered=number["RECOVERED_SECONDS"],
            restarts_per_hour=number["RESTARTS_PER_HOUR"],
        ),
        poll_seconds=number["POLL_SECONDS"],
        watch_silent_seconds=number["WATCH_SILENT_SECONDS"],
        metrics_port=integer(environ, "METRICS_PORT", 1, 65535, 9249),
    )


def read_kafka(environ: Mapping[str, str]) -> Kafka:
    """Read the Kafka settings; those of the login count with a SASL protocol only. Raises SettingError."""
    protocol = environ.get("KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT"
    if protocol not in SECURITY_PROTOCOLS:
        raise setting_error("KAFKA_SECURITY_PROTOCOL", protocol, " or ".join(SECURITY_PROTOCOLS))
    sasl = protocol.startswith("SASL_")
    return Kafka(
        bootstrap_servers=text(
            environ, "KAFKA_BOOTSTRAP_SERVERS", "localhost:9092", SERVERS, "host:port[,host:port...]"
        ),
        topic=text(environ, "KAFKA_TOPIC", "tweets", "[a-zA-Z0-9._-]{1,249}", "a topic's name"),
        protocol=protocol,
        username=text(environ, "KAFKA_USERNAME", "", ".+", f"with {protocol} a user's name") if sasl else "",
        password_file=text(environ, "KAFKA_PASSWORD_FILE", "", "/.+", f"with {protocol} a path") if sasl else "",
        ca_file=text(environ, "KAFKA_CA_FILE", "", "(/.+)?", "an absolute path") or None,
    )


def text(environ: Mapping[str, str], name: str, default: str, pattern: str, allowed: str) -> str:
    """The variable's value, which has to match `pattern`. allowed: describes the pattern in the error."""
    value = environ.get(name) or default
    if not re.fullmatch(pattern, value):
        raise setting_error(name, value, allowed)
    return value


def integer(environ: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    """The variable's value, an integer from `least` to `most` in ASCII digits."""
    value = environ.get(name) or str(default)
    if not (re.fullmatch("[0-9]{1,18}", value) and least <= int(value) <= most):
        raise setting_error(name, value, f"a whole number from {least} to {most}")
    return int(value)


def setting_error(name: str, value: str, allowed: str) -> SettingError:
    return SettingError(f"{name}={value!r}: {allowed} is allowed")
