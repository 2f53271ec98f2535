"""The settings of the local stack: its state folder, its ports, the feed that it reads."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from jobs.addresses import MONGODB_ALLOWED, mongodb_address
from jobs.feeds.definition import Definition, load
from jobs.settings import EnvReader, SettingError

REPOSITORY = Path(__file__).resolve().parent.parent

# The presets that read the simulator. Any other feed has servers of its own.
SIMULATED = ("simulator", "text")
# An assumption, well above the reported rates of Bluesky.
POSTS_PER_SECOND = 200
# Variables of the user's environment that may hold the jobs' secrets. No program of the stack inherits them.
# make copies its command line into the last three.
SECRETS = (
    *(f"{name}{ending}" for name in ("MONGODB_URI", "WEBSOCKET_URL", "WORLDOMETERS_URL") for ending in ("", "_FILE")),
    *("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"),
)


@dataclass(frozen=True)
class Ports:
    """The TCP ports of the local stack, on the loopback interface."""

    console: int = 8090
    simulator: int = 5555
    worldometers: int = 5556
    kafka: int = 9092
    kafka_controller: int = 9093
    mongodb: int = 27017
    flink: int = 8081
    flink_rpc: int = 6123


@dataclass(frozen=True)
class Settings:
    """The local stack's settings."""

    state: Path = REPOSITORY / ".state"  # folder of all downloads and files of the stack; data and logs are in run/
    ports: Ports = Ports()
    feed: str = "simulator"  # a preset's name, or the absolute path of a feed's definition
    posts_per_second: int = POSTS_PER_SECOND  # of a feed other than the simulator: what windows have memory for
    mongodb_uri: str | None = field(default=None, repr=False)  # of the user's database; None: the stack starts one
    rate: float = 20.0  # of the simulator, posts per second
    window_seconds: int = 20  # length of a window
    documents: int | None = None  # after how many documents the demo ends; None: at Ctrl-C

    @property
    def simulated(self) -> bool:
        """Whether the feed is the stack's own simulator."""
        return self.feed in SIMULATED

    @cached_property
    def definition(self) -> Definition:
        """The definition of the feed. Raises FeedError."""
        return load(self.feed)

    @property
    def planned_posts_per_second(self) -> int:
        """The rate for which the aggregator's memory must suffice."""
        return math.ceil(self.rate) if self.simulated else self.posts_per_second

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
        """The file that holds `store_uri` while the stack runs."""
        return self.run / "mongodb-uri"

    @property
    def feed_file(self) -> Path:
        """The file that holds `feed` while the stack runs."""
        return self.run / "feed"

    @property
    def simulator_url(self) -> str:
        return f"ws://127.0.0.1:{self.ports.simulator}"

    @property
    def worldometers_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.worldometers}/coronavirus/"

    @property
    def console_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.console}"

    @property
    def flink_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.flink}"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environment`. An unset or empty variable means the default.

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
        feed=read_feed(environment),
        posts_per_second=read.integer("PLANNED_POSTS_PER_SECOND", POSTS_PER_SECOND, 1, 1_000_000),
        mongodb_uri=read.secret("MONGODB_URI", "", mongodb_address, MONGODB_ALLOWED).read() if own_store else None,
        rate=read.number("SIMULATOR_RATE", defaults.rate, 0.01, 100_000),
        window_seconds=read.integer("WINDOW_SECONDS", defaults.window_seconds, 1, 3_600),
        documents=read.integer("DOCUMENTS", 0, 0, 1_000_000) or None,
    )


def read_feed(environment: Mapping[str, str]) -> str:
    """FEED with a relative path made absolute, since the jobs take only absolute ones. Raises SettingError."""
    feed = environment.get("FEED") or Settings.feed
    if "/" in feed or feed.endswith((".yaml", ".yml")):
        feed = str(Path(feed).resolve())
    definition = EnvReader({"FEED": feed}).feed("FEED", Settings.feed)
    if "urls" not in definition.connect:
        raise SettingError(f"FEED={feed!r}: a definition with connect.urls is allowed")
    return feed
