"""The jobs' settings: read once from the environment, checked, and passed on as one value."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jobs import addresses
from jobs.addresses import (
    MONGODB_ALLOWED,
    PAGE_ALLOWED,
    WEBSOCKET_ALLOWED,
    mongodb_address,
    page_address,
    websocket_addresses,
)
from jobs.buckets import MAX_BUCKETS
from jobs.defaults import COLLECTION, DATABASE, EVENTS_TOPIC, REJECTED_TOPIC, TWEETS_TOPIC, WORLDOMETERS_URL
from jobs.documents import unix
from jobs.feeds.templates import files_in
from jobs.layouts import Layout

if TYPE_CHECKING:
    from jobs.feeds.definition import Definition

T = TypeVar("T")
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MEBIBYTE = 1_048_576
NAME = "[a-zA-Z0-9._-]{1,200}"
NAME_ALLOWED = "1 to 200 of the characters a-z, A-Z, 0-9, '.', '_', '-'"
# None of these characters has a special meaning in the references to the file in the options of Kafka's clients.
PATH = "(/[a-zA-Z0-9._-]+)+"
PATH_ALLOWED = "an absolute path of the characters a-z, A-Z, 0-9, '.', '_', '-'"
CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class SettingError(ValueError):
    """A setting has a value that is not allowed. The text names the setting, the value and what is allowed.

    A value that may hold a secret is not shown.
    """


@dataclass(frozen=True)
class Secret(Generic[T]):
    """A setting that may hold a secret: its text, or the path of a file that contains nothing but that text.

    The content of the file is not a field, because the settings become part of Flink's job graph. So the file must
    exist at the same path wherever `read` is called.

    name: name of the setting.
    parse: converts the text to the value; returns None for a text that is not allowed.
    allowed: what is allowed, for error messages.
    text: None if there is a file.
    file: absolute path; None if there is a text.
    """

    name: str
    parse: Callable[[str], T | None]
    allowed: str
    text: str | None = field(repr=False)
    file: str | None = None

    def read(self) -> T:
        """The value; a file is read again at each call. Raises SettingError, which does not show the value."""
        if self.file is None:
            text, shown = self.text or "", f"{self.name} (not shown)"
        else:
            text = read_text(f"{self.name}_FILE", self.file)
            shown = f"{self.name}_FILE={self.file!r} (content not shown)"
        # U+FFFD replaces bytes that are not UTF-8.
        value = self.parse(text) if text.isprintable() and "\ufffd" not in text else None
        if value is None:
            raise SettingError(f"{shown}: {self.allowed}, without a line break at the end, is allowed")
        return value


@dataclass(frozen=True)
class KafkaSecurity:
    """How the clients connect to Kafka's brokers.

    protocol: one of SECURITY_PROTOCOLS.
    username, password_file: for SCRAM-SHA-512; set exactly when the protocol begins with SASL_. The password itself is
        not a field, because settings become part of the job graph.
    ca_file: PEM file with the CA of the brokers' certificates; None: the system trust store.
    """

    protocol: str = "PLAINTEXT"
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class CollectorSettings:
    """The settings of the collector.

    websocket_url: the servers of one feed.
    websocket_ca_file: PEM file with the CA of the wss:// servers' certificates; None: the system trust store.
    feed: the definition of the feed.
    bootstrap_servers, security: the connection to Kafka.
    topic, rejected_topic, events_topic: the topics of posts, of rejections, and of what happens to the feed.
    id_prefix: prefix of the transactional ids.
    max_rejected_share: the collector stops when it rejects a larger share of the frames; 1: never.
    max_frame_bytes: a larger frame is skipped and rejected.
    buffer_frames: so many frames are buffered before the socket is read more slowly.
    buffer_bytes: the same in bytes. It also limits the bytes of the records that wait for Kafka.
    max_silence_seconds: the reader leaves a server that sends nothing for longer; 0: never.
    resume_from_topic: whether a collector without state resumes from the newest position in the topic. False: it
        starts live.
    checkpoint_seconds: checkpoint interval. Also the delay before records become visible to readers of the topic.
    """

    websocket_url: Secret[tuple[str, ...]]
    websocket_ca_file: str | None
    feed: "Definition"
    bootstrap_servers: str
    security: KafkaSecurity
    topic: str
    rejected_topic: str
    events_topic: str
    id_prefix: str
    max_rejected_share: float
    max_frame_bytes: int
    buffer_frames: int
    buffer_bytes: int
    max_silence_seconds: int
    resume_from_topic: bool
    checkpoint_seconds: int


@dataclass(frozen=True)
class AggregatorSettings:
    """The settings of the aggregator.

    bootstrap_servers, security: the connection to Kafka.
    topic, rejected_topic: the topic of posts and the topic of rejections.
    id_prefix: prefix of the transactional ids and of the consumer groups.
    window_seconds: length of a window.
    window_buckets: the posts of a window are spread over so many documents.
    out_of_order_seconds: how much older than the newest post of its partition a post may be and still be in order.
    allowed_lateness_seconds: for how long, in event time, a late post is still added to its document.
    planned_posts_per_second: the rate for which the windows must fit into memory.
    replay_from: from where a job without state rewrites documents: ISO 8601 or `earliest`. None: it starts after the
        newest document.
    idle_seconds: a partition without a record for so long holds no window open; 0: never idle.
    checkpoint_seconds: checkpoint interval. Also the work that is repeated after a failure.
    max_document_bytes: a larger window is split into several documents.
    mongodb_uri, mongodb_ca_file: the connection to MongoDB. mongodb_ca_file: PEM file; None: the system trust store.
    database, collection: where the documents are stored.
    worldometers_url: the page of the counters.
    refresh_seconds: for how long counters are used before the page is fetched again.
    """

    bootstrap_servers: str
    security: KafkaSecurity
    topic: str
    rejected_topic: str
    id_prefix: str
    window_seconds: int
    window_buckets: int
    out_of_order_seconds: int
    allowed_lateness_seconds: int
    planned_posts_per_second: int
    replay_from: str | None
    idle_seconds: int
    checkpoint_seconds: int
    max_document_bytes: int
    mongodb_uri: Secret[str]
    mongodb_ca_file: str | None
    database: str
    collection: str
    worldometers_url: Secret[str]
    refresh_seconds: int

    @property
    def layout(self) -> Layout:
        return Layout(self.window_seconds, self.window_buckets)

    @property
    def mongodb_options(self) -> dict[str, Any]:
        """Keyword arguments of MongoDB's driver in addition to the address."""
        return {"tlsCAFile": self.mongodb_ca_file} if self.mongodb_ca_file else {}


def read_collector_settings(environment: Mapping[str, str]) -> CollectorSettings:
    """Raises SettingError, also for a file that cannot be used."""
    read = EnvReader(environment)
    topic, rejected_topic = read.topics()
    feed = read.feed("FEED", "simulator")
    urls = ",".join(feed.connect.get("urls", ()))
    websocket_url = read.secret("WEBSOCKET_URL", urls, websocket_addresses, WEBSOCKET_ALLOWED)
    return CollectorSettings(
        websocket_url=websocket_url,
        websocket_ca_file=read.certificates(
            "WEBSOCKET_CA_FILE",
            f"an address wss:// in {websocket_url.name}",
            applies=any(url.startswith("wss://") for url in websocket_url.read()),
            default=feed.connect.get("ca_file"),
        ),
        feed=feed,
        bootstrap_servers=read.servers("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        security=read.security(),
        topic=topic,
        rejected_topic=rejected_topic,
        events_topic=read.events_topic(topic, rejected_topic),
        id_prefix=read.text("KAFKA_ID_PREFIX", "data-collection", NAME, NAME_ALLOWED),
        max_rejected_share=read.number("MAX_REJECTED_SHARE", 0.9, 0, 1),
        max_frame_bytes=read.integer("MAX_FRAME_BYTES", 262_144, 1_024, 524_288),
        buffer_frames=read.integer("BUFFER_FRAMES", 20_000, 100, 1_000_000),
        # The minimum holds two of the largest frames that MAX_FRAME_BYTES allows.
        buffer_bytes=read.integer("BUFFER_BYTES", 64 * MEBIBYTE, MEBIBYTE, 1_024 * MEBIBYTE),
        max_silence_seconds=read.integer("MAX_SILENCE_SECONDS", feed.keepalive.get("max_silence", 60), 0, 86_400),
        resume_from_topic=read.choice("START_FROM", "topic", ("topic", "live")) == "topic",
        checkpoint_seconds=read.integer("CHECKPOINT_SECONDS", 2, 1, 120),
    )


def read_aggregator_settings(environment: Mapping[str, str]) -> AggregatorSettings:
    """Raises SettingError, also for a file that cannot be used."""
    read = EnvReader(environment)
    topic, rejected_topic = read.topics()
    mongodb_uri = read.secret("MONGODB_URI", "mongodb://localhost:27017", mongodb_address, MONGODB_ALLOWED)
    return AggregatorSettings(
        bootstrap_servers=read.servers("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        security=read.security(),
        topic=topic,
        rejected_topic=rejected_topic,
        id_prefix=read.text("KAFKA_ID_PREFIX", "data-collection", NAME, NAME_ALLOWED),
        window_seconds=read.integer("WINDOW_SECONDS", 20, 1, 3_600),
        window_buckets=read.integer("WINDOW_BUCKETS", 1, 1, MAX_BUCKETS),
        out_of_order_seconds=read.integer("OUT_OF_ORDER_SECONDS", 1, 0, 3_600),
        allowed_lateness_seconds=read.integer("ALLOWED_LATENESS_SECONDS", 40, 0, 3_600),
        planned_posts_per_second=read.integer("PLANNED_POSTS_PER_SECOND", 1_000, 1, 1_000_000),
        replay_from=read.moment("REPLAY_FROM", "earliest"),
        idle_seconds=read.integer("IDLE_SECONDS", 0, 0, 86_400),
        checkpoint_seconds=read.integer("CHECKPOINT_SECONDS", 10, 1, 120),
        max_document_bytes=read.integer("MAX_DOCUMENT_BYTES", 12_000_000, 1_000, 16_000_000),
        mongodb_uri=mongodb_uri,
        mongodb_ca_file=read.certificates(
            "MONGODB_CA_FILE", f"tls=true in {mongodb_uri.name}", applies=addresses.uses_tls(mongodb_uri.read())
        ),
        database=read.name("MONGODB_DATABASE", DATABASE, addresses.DATABASE),
        collection=read.name("MONGODB_COLLECTION", COLLECTION, addresses.COLLECTION),
        worldometers_url=read.secret("WORLDOMETERS_URL", WORLDOMETERS_URL, page_address, PAGE_ALLOWED),
        refresh_seconds=read.integer("WORLDOMETERS_REFRESH_SECONDS", 60, 1, 86_400),
    )


class EnvReader:
    """Reads single settings from the environment. An unset or empty variable means the default."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        return self._read(name, default, lambda value: value if value in allowed else None, " or ".join(allowed))

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        def parse(value: str) -> int | None:
            return int(value) if re.fullmatch("[0-9]{1,18}", value) and low <= int(value) <= high else None

        return self._read(name, str(default), parse, f"a whole number from {low} to {high}")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        def parse(value: str) -> float | None:
            with contextlib.suppress(ValueError):
                return number if low <= (number := float(value)) <= high else None
            return None

        return self._read(name, str(default), parse, f"a number from {low:g} to {high:g}")

    def moment(self, name: str, word: str) -> str | None:
        """A time of the form 2026-11-24T08:00:00Z, or the literal `word`; None when unset."""

        def parse(value: str) -> str | None:
            with contextlib.suppress(ValueError):
                return value if value == word or unix(value) >= 0 else None
            return None

        allowed = f"a time like 2026-11-24T08:00:00Z, or {word},"
        return self._read(name, "", parse, allowed) if self._variables.get(name) else None

    def text(self, name: str, default: str, pattern: str, allowed: str) -> str:
        """A text that completely matches `pattern`."""
        return self._read(name, default, lambda value: value if re.fullmatch(pattern, value) else None, allowed)

    def name(self, name: str, default: str, rule: addresses.NameRule) -> str:
        return self._read(name, default, lambda value: value if rule.allows(value) else None, rule.allowed)

    def topics(self) -> tuple[str, str]:
        """The topics of posts and of rejections. They must differ: a job would read its own rejections indefinitely."""
        topic = self.name("KAFKA_TOPIC", TWEETS_TOPIC, addresses.TOPIC)
        rejected = self.name("KAFKA_REJECTED_TOPIC", REJECTED_TOPIC, addresses.TOPIC)
        if topic == rejected:
            raise SettingError(f"KAFKA_REJECTED_TOPIC={rejected!r}: a topic other than KAFKA_TOPIC is allowed")
        return topic, rejected

    def events_topic(self, *others: str) -> str:
        topic = self.name("KAFKA_EVENTS_TOPIC", EVENTS_TOPIC, addresses.TOPIC)
        if topic in others:
            allowed = "a topic other than KAFKA_TOPIC and KAFKA_REJECTED_TOPIC is allowed"
            raise SettingError(f"KAFKA_EVENTS_TOPIC={topic!r}: {allowed}")
        return topic

    def definition(self, name: str, default: str) -> "Definition":
        """The definition of a feed: a preset, or a file. The files that it names are not read."""
        # The aggregator and the live page read no feed: without the checks of its schema they take 8 MB less.
        from jobs.feeds.definition import FeedError, load  # noqa: PLC0415

        value = self._variables.get(name) or default
        try:
            return load(value)
        except FeedError as error:
            raise SettingError(f"{name}={value!r}: {error}") from error

    def feed(self, name: str, default: str) -> "Definition":
        """The definition of the feed that is read: the files that it names must be readable."""
        definition = self.definition(name, default)
        for path in files_in(vars(definition)):
            read_secret_file(f"{name}={self._variables.get(name) or default!r}, ${{file:...}}", path)
        return definition

    def servers(self, name: str, default: str) -> str:
        return self.text(name, default, addresses.SERVERS, addresses.SERVERS_ALLOWED)

    def security(self) -> KafkaSecurity:
        """The protocol with every setting that it needs. A setting that would have no effect is an error."""
        protocol = self.choice("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", SECURITY_PROTOCOLS)
        sasl, tls = protocol.startswith("SASL_"), protocol.endswith("SSL")

        def read(name: str, pattern: str, allowed: str, *, applies: bool, optional: bool = False) -> str | None:
            value = self._variables.get(name) or ""
            if not value and (optional or not applies):
                return None
            if not (applies and re.fullmatch(pattern, value)):
                with_it = f"with KAFKA_SECURITY_PROTOCOL={protocol} {allowed if applies else 'nothing'} is allowed"
                raise SettingError(f"{name}={value!r}: {with_it}")
            return value

        return KafkaSecurity(
            protocol=protocol,
            username=read("KAFKA_USERNAME", NAME, NAME_ALLOWED, applies=sasl),
            password_file=read("KAFKA_PASSWORD_FILE", PATH, PATH_ALLOWED, applies=sasl),
            ca_file=read("KAFKA_CA_FILE", PATH, PATH_ALLOWED, applies=tls, optional=True),
        )

    def secret(self, name: str, default: str, parse: Callable[[str], T | None], allowed: str) -> Secret[T]:
        """A setting that `<name>` holds, or the file that `<name>_FILE` names. It is read once, to check it."""
        text, file = (self._variables.get(each) or None for each in (name, f"{name}_FILE"))
        if file and text:
            raise SettingError(f"{name}_FILE (not shown): together with {name} nothing is allowed")
        if file and not file.startswith("/"):
            # The value may be the secret itself.
            raise SettingError(f"{name}_FILE (not shown): an absolute path is allowed")
        if not (file or text or default):
            raise SettingError(f"{name} is missing: {allowed} is allowed")
        secret = Secret(name, parse, allowed, None if file else text or default, file)
        secret.read()
        return secret

    def certificates(self, name: str, condition: str, *, applies: bool, default: str | None = None) -> str | None:
        """The path of a PEM file; None when unset.

        applies: whether `condition` holds. If not, the file would have no effect, which is an error.
        """
        path = self._variables.get(name) or default
        if not path:
            return None
        if not path.startswith("/"):
            raise SettingError(f"{name}={path!r}: an absolute path is allowed")
        if not applies:
            raise SettingError(f"{name}={path!r}: without {condition} nothing is allowed")
        check_certificates(name, path)
        return path

    def _read(self, name: str, default: str, parse: Callable[[str], T | None], allowed: str) -> T:
        value = self._variables.get(name) or default
        parsed = parse(value)
        if parsed is None:
            raise SettingError(f"{name}={value!r}: {allowed} is allowed")
        return parsed


def read_text(name: str, path: str) -> str:
    """The content of the file that the setting `name` names, with its line breaks. Raises SettingError."""
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError as error:
        raise SettingError(f"{name}={path!r}: a file that can be read is allowed: {error.strerror}") from error


def read_secret_file(name: str, path: str) -> str:
    """The text in a file, without a line break at its end. Raises SettingError, which does not show the text."""
    text = read_text(name, path).rstrip("\r\n")
    if not text.isprintable() or not text:
        raise SettingError(f"{name}={path!r} (content not shown): one line of printable text is allowed")
    return text


def check_certificates(name: str, path: str) -> None:
    """Raises SettingError for a file that is not a PEM file with a certificate."""
    if CERTIFICATE not in read_text(name, path):
        raise SettingError(f"{name}={path!r}: a PEM file with a certificate is allowed")
