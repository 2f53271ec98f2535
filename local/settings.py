"""What the local stack is told by its environment: where its state lies, which ports it uses, which feed it reads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# The four public instances of Bluesky's Jetstream, asked in turn; only created posts are wanted.
JETSTREAM_URLS = ",".join(
    f"wss://jetstream{number}.us-{coast}.bsky.network/subscribe?wantedCollections=app.bsky.feed.post"
    for coast in ("east", "west")
    for number in (1, 2)
)
FEEDS = ("simulator", "jetstream")


class SettingError(ValueError):
    """A setting has a value that is not allowed; the text names the setting, the value and what is allowed."""


@dataclass(frozen=True)
class Ports:
    """The TCP ports of the local stack on the loopback interface."""

    simulator: int = 5555
    worldometers: int = 5556
    kafka: int = 9092
    kafka_controller: int = 9093
    mongodb: int = 27017
    flink: int = 8081
    flink_rpc: int = 6123


@dataclass(frozen=True)
class Settings:
    """The local stack's settings.

    state: folder of everything that the stack downloads and writes; data and logs lie in its `run` folder.
    mongodb_uri: the user's own document store, or None for one that the stack starts.
    rate: posts a second of the simulator; window_seconds: length of a window.
    """

    state: Path = REPOSITORY / ".state"
    ports: Ports = Ports()
    feed: str = "simulator"
    mongodb_uri: str | None = None
    rate: float = 20.0
    window_seconds: int = 20
    documents: int | None = None

    @property
    def jars(self) -> Path:
        return self.state / "jars"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.ports.kafka}"

    @property
    def store_uri(self) -> str:
        return self.mongodb_uri or f"mongodb://127.0.0.1:{self.ports.mongodb}"

    @property
    def websocket_url(self) -> str:
        return JETSTREAM_URLS if self.feed == "jetstream" else f"ws://127.0.0.1:{self.ports.simulator}"

    @property
    def worldometers_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.worldometers}/coronavirus/"

    @property
    def flink_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.flink}"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environment`; an unset or empty variable means the default.

    Raises SettingError with the variable's name, its value and what is allowed.
    """
    defaults = Settings()

    def whole(name: str, default: int, low: int, high: int) -> int:
        value = environment.get(name) or str(default)
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise SettingError(f"{name}={value!r}: a whole number from {low} to {high} is allowed")
        return int(value)

    def number(name: str, default: float, low: float, high: float) -> float:
        value = environment.get(name) or str(default)
        try:
            if low <= float(value) <= high:
                return float(value)
        except ValueError:
            pass
        raise SettingError(f"{name}={value!r}: a number from {low:g} to {high:g} is allowed")

    ports = Ports(
        **{name: whole(f"{name.upper()}_PORT", default, 1, 65535) for name, default in vars(defaults.ports).items()}
    )
    used = list(vars(ports).values())
    if len(set(used)) != len(used):
        named = ", ".join(f"{name.upper()}_PORT={port}" for name, port in vars(ports).items())
        raise SettingError(f"two parts cannot share a port: {named}")
    feed = environment.get("FEED") or defaults.feed
    if feed not in FEEDS:
        raise SettingError(f"FEED={feed!r}: {' or '.join(FEEDS)} is allowed")
    uri = environment.get("MONGODB_URI") or None
    if uri and not uri.startswith(("mongodb://", "mongodb+srv://")):
        # The value is not shown: it may hold a password.
        raise SettingError("MONGODB_URI: it must start with mongodb:// or mongodb+srv://")
    return Settings(
        state=Path(environment.get("STATE") or defaults.state).resolve(),
        ports=ports,
        feed=feed,
        mongodb_uri=uri,
        rate=number("SIMULATOR_RATE", defaults.rate, 0.01, 100_000),
        window_seconds=whole("WINDOW_SECONDS", defaults.window_seconds, 1, 3600),
        documents=whole("DOCUMENTS", 0, 0, 1_000_000) or None,
    )
