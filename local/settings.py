"""What the local stack is told by its environment: where its state lies, which ports it uses, which feed it reads."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.addresses import MONGODB_ALLOWED, mongodb_address
from jobs.settings import EnvReader, SettingError

REPOSITORY = Path(__file__).resolve().parent.parent

# The four public instances of Bluesky's Jetstream, asked in turn; only created posts are wanted.
JETSTREAM_URLS = ",".join(
    f"wss://jetstream{number}.us-{coast}.bsky.network/subscribe?wantedCollections=app.bsky.feed.post"
    for coast in ("east", "west")
    for number in (1, 2)
)
FEEDS = ("simulator", "jetstream")
# An assumption, well above what is reported of Bluesky.
JETSTREAM_POSTS_PER_SECOND = 200
# What the user's environment may hold of the jobs' secrets; no program of the stack inherits it. What make is called
# with stands in variables of its own, too.
SECRETS = (
    *(f"{name}{ending}" for name in ("MONGODB_URI", "WEBSOCKET_URL", "WORLDOMETERS_URL") for ending in ("", "_FILE")),
    *("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"),
)


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
    mongodb_uri: str | None = field(default=None, repr=False)
    rate: float = 20.0
    window_seconds: int = 20
    documents: int | None = None

    @property
    def planned_posts_per_second(self) -> int:
        """For how many the aggregator's memory has to suffice."""
        return math.ceil(self.rate) if self.feed == "simulator" else JETSTREAM_POSTS_PER_SECOND

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
    def store_uri_file(self) -> Path:
        """Holds `store_uri` while the stack runs."""
        return self.run / "mongodb-uri"

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
    own_store = any(environment.get(name) for name in ("MONGODB_URI", "MONGODB_URI_FILE"))
    read = EnvReader(environment)
    ports = Ports(
        **{name: read.integer(f"{name.upper()}_PORT", port, 1, 65_535) for name, port in vars(defaults.ports).items()}
    )
    used = list(vars(ports).values())
    if len(set(used)) != len(used):
        named = ", ".join(f"{name.upper()}_PORT={port}" for name, port in vars(ports).items())
        raise SettingError(f"two parts cannot share a port: {named}")
    return Settings(
        state=Path(environment.get("STATE") or defaults.state).resolve(),
        ports=ports,
        feed=read.choice("FEED", defaults.feed, FEEDS),
        mongodb_uri=read.secret("MONGODB_URI", "", mongodb_address, MONGODB_ALLOWED).read() if own_store else None,
        rate=read.number("SIMULATOR_RATE", defaults.rate, 0.01, 100_000),
        window_seconds=read.integer("WINDOW_SECONDS", defaults.window_seconds, 1, 3_600),
        documents=read.integer("DOCUMENTS", 0, 0, 1_000_000) or None,
    )
