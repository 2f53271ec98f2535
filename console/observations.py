"""What the sources report. Plain values without clients; times are seconds since 1970 UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Checkpoint:
    """The last completed checkpoint. at: when it was complete."""

    at: float
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Job:
    """A job of Flink.

    state: Flink's name of the state, for example RUNNING.
    started_at: when it was submitted.
    restarts: how often Flink has restarted it since.
    failure, failed_at: the last failure as one line, without secrets; "" and 0 without one.
    back_pressure: the largest share of time, from 0 to 1, that a task waits for the next one.
    watermark: the lowest event time up to which all tasks are; None if it is unknown.
    metrics: the job's own metrics by name: the sums over all subtasks, or the worst value where a sum says nothing.
    url: Flink's page of the job, for a browser; "" if a browser cannot reach it.
    settings: the settings with which the job was submitted, by the name of the variable. None of them is a secret.
    flink_version: version of Flink; "" if it is unknown.
    """

    name: str
    state: str
    started_at: float
    url: str = ""
    restarts: int = 0
    failure: str = ""
    failed_at: float = 0.0
    checkpoint: Checkpoint | None = None
    failed_checkpoints: int = 0
    back_pressure: float = 0.0
    watermark: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    flink_version: str = ""


@dataclass(frozen=True)
class Post:
    """A post in the topic. at: its event time. original: the text before cleaning; "" if the record has none."""

    id: str
    text: str
    at: float
    source: str
    position: str = ""
    original: str = ""


@dataclass(frozen=True)
class RejectedGroup:
    """The rejected records with one code. first, last: times of the first and of the last one."""

    code: str
    reason: str
    count: int
    first: float
    last: float
    sample: str
    replayable: bool


@dataclass(frozen=True)
class FeedEvent:
    """A record of the topic of events.

    what: its kind. details: its other fields as texts.
    place: partition and offset, for example 0/123. record: its value, shortened.
    """

    what: str
    at: float
    source: str
    server: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    record: str = ""


@dataclass(frozen=True)
class Topics:
    """The state of the topics.

    records: offsets in `tweets` so far.
    lag: records of `tweets` that the aggregator has not committed; None if it has committed nothing.
    posts: the newest posts, newest first.
    rejected: the rejections by code, the most frequent first.
    events: the events of the last day, oldest first.
    """

    records: int
    lag: int | None
    posts: tuple[Post, ...] = ()
    rejected: tuple[RejectedGroup, ...] = ()
    events: tuple[FeedEvent, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document of MongoDB. timestamp: end of its window, ISO 8601. raw: the document as JSON, shortened."""

    timestamp: str
    posts: int
    counters: Mapping[str, int | None]
    raw: str


@dataclass(frozen=True)
class Documents:
    """The newest documents, newest first. answer_seconds: how long MongoDB takes to answer a short question."""

    newest: tuple[Document, ...]
    answer_seconds: float = field(compare=False)  # it differs each time, and is no news


@dataclass(frozen=True)
class Watchdog:
    """Restarts of the simulator by reason, and suppressed ones by reason and by what held them."""

    restarts: Mapping[str, int]
    suppressed: Mapping[str, int]


@dataclass(frozen=True)
class ClusterEvent:
    """A Warning event of Kubernetes. what: kind and name of the object. count: how often. at: the last time."""

    at: float
    reason: str
    what: str
    message: str
    count: int


@dataclass(frozen=True)
class ClusterEvents:
    """The newest Warning events of the release's objects, newest first."""

    newest: tuple[ClusterEvent, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The newest answer of a source.

    value: one of the classes above; None before the first answer.
    at: when it came; 0 before.
    error: why the source does not answer now; "" if it does.
    failing_since: since when; 0 if it answers.
    """

    value: object | None = None
    at: float = 0.0
    error: str = ""
    failing_since: float = 0.0
