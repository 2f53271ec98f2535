"""Turns observations into what the page shows. Pure: the clock is an argument. Times are seconds since 1970 UTC."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from console.history import Rate, Series
from console.ledger import Ledger, ledger_of
from console.observations import (
    Answer,
    ClusterEvent,
    ClusterEvents,
    Document,
    Documents,
    FeedEvent,
    Job,
    Post,
    RejectedGroup,
    Topics,
    Watchdog,
)

COLLECTOR, AGGREGATOR, TOPICS, DOCUMENTS = "collector", "aggregator", "topics", "documents"
WATCHDOG, CLUSTER = "watchdog", "cluster"
NAMES = {
    COLLECTOR: "Flink (collector)",
    AGGREGATOR: "Flink (aggregator)",
    TOPICS: "Kafka",
    DOCUMENTS: "MongoDB",
    CLUSTER: "The Kubernetes API",
}
# A post passes without them.
BESIDE = (WATCHDOG, CLUSTER)
GREEN, AMBER, RED = "green", "amber", "red"
LEVELS = (GREEN, AMBER, RED)
# A source that is silent for so long is a fault.
FAILING_SECONDS = 3.0
BEHIND_SECONDS = 15.0
OLD_COUNTERS_SECONDS = 3_600.0
WATERMARK_STEP_SECONDS = 0.001  # a watermark is a millisecond before the end of the window that it closes
RESTARTED_SECONDS = 60.0
# A document comes so long after the end of its window, at the latest.
DOCUMENT_SECONDS = 30.0
LOSS = "The feed did not deliver everything: the list below has the positions"  # the sentence itself has the number
# Documents come once per window, so their rate is that of a longer time.
SLOW_SECONDS = 120.0
LEDGER_SECONDS = 30  # a bar of a day is a thousand units wide
PRESSED = 0.5  # share of the time that a task waits for the next one


@dataclass(frozen=True)
class Finding:
    """A fault or a doubt, with the time of its begin where that is known."""

    level: str
    text: str


@dataclass(frozen=True)
class Box:
    """A part of the path.

    facts: (label, value). points: the last quarter of an hour of `rate`, in `unit`.
    link: Flink's page; "" where a browser cannot reach it. command: what makes it reachable.
    """

    title: str
    level: str
    rate: str
    lag: str
    points: Sequence[float | None] = ()
    unit: str = ""
    facts: Sequence[tuple[str, str]] = ()
    mark: str = ""
    link: str = ""
    command: str = ""
    stale: str = ""


@dataclass(frozen=True)
class View:
    """All that the page shows.

    operations, versions: (label, value). settings: by job, (variable, value).
    warnings: of Kubernetes; None outside of a cluster.
    """

    at: float
    level: str
    sentence: str
    findings: Sequence[Finding]
    boxes: Sequence[Box]
    ledgers: Sequence[Ledger]
    posts: Sequence[Post]
    documents: Sequence[Document]
    rejected: Sequence[RejectedGroup]
    operations: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    settings: Mapping[str, Sequence[tuple[str, str]]]
    warnings: Sequence[ClusterEvent] | None


@dataclass
class Board:
    """The memory of the console: rates and their history, and what never changes.

    versions: (name, version). commands: by job, see Box.command.
    """

    window_seconds: int
    versions: Sequence[tuple[str, str]] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    _ledgers: tuple[object, Sequence[Ledger]] = (None, ())

    def ledgers(self, events: Sequence[FeedEvent], now: float) -> Sequence[Ledger]:
        """The ledgers. They are made again when there is an event, and as the bars move."""
        key = (tuple(events), now // LEDGER_SECONDS)
        if self._ledgers[0] != key:
            self._ledgers = key, ledger_of(events, (now // LEDGER_SECONDS + 1) * LEDGER_SECONDS)
        return self._ledgers[1]

    def rate(
        self, name: str, now: float, answer: Answer, total: float | None, seconds: float = 10.0
    ) -> tuple[float | None, list[float | None]]:
        """The rate of a total over the last seconds, and its history. answer: the total is from it."""
        rate = self.rates.setdefault(name, Rate(seconds)).add(answer.at, None if answer.error else total)
        series = self.series.setdefault(name, Series())
        series.add(now, rate)
        return rate, series.points(now)


def build(answers: Mapping[str, Answer], board: Board, now: float) -> View:
    """What the page shows at the time `now`."""
    collector, aggregator = job_of(answers, COLLECTOR), job_of(answers, AGGREGATOR)
    topics, documents = topics_of(answers), documents_of(answers)
    findings = [*silent_sources(answers, now)]
    findings += job_findings("The collector", collector, now) + job_findings("The aggregator", aggregator, now)
    findings += feed_findings(collector) + document_findings(documents, aggregator, board.window_seconds, now)
    level = max((finding.level for finding in findings), key=LEVELS.index, default=GREEN)
    if not any(answer.value for answer in answers.values()):
        level = AMBER
    boxes = (
        feed_box(answers, collector, topics),
        collector_box(answers, collector, board, now),
        topic_box(answers, topics, board, now),
        aggregator_box(answers, aggregator, board, now),
        store_box(answers, documents, aggregator, board, now),
        page_box(answers, aggregator),
    )
    return View(
        at=now,
        level=level,
        sentence=sentence(level, findings, collector, completeness(documents, aggregator)),
        findings=findings,
        boxes=boxes,
        ledgers=board.ledgers(topics.events if topics else (), now),
        posts=topics.posts if topics else (),
        documents=documents.newest if documents else (),
        rejected=topics.rejected if topics else (),
        operations=operations(answers, collector, aggregator, now),
        versions=versions(board, collector, aggregator),
        settings={job.name: sorted(job.settings.items()) for job in (collector, aggregator) if job and job.settings},
        warnings=warnings(answers),
    )


def completeness(documents: Documents | None, aggregator: Job | None) -> str:
    """Up to when all posts are in documents.

    Several tasks write documents, each at its own speed. A task passes a watermark on when it has written the windows
    before it. So the windows before the lowest watermark are complete, and the newest document may be of a later one.
    """
    ends = [moment(document.timestamp) for document in documents.newest] if documents else []
    if not ends:
        return "No document yet"
    watermark = aggregator.watermark if aggregator is not None else None
    complete = [end for end in ends if watermark is not None and end - WATERMARK_STEP_SECONDS <= watermark]
    return f"Complete up to {clock(max(complete))} UTC" if complete else f"Newest document {clock(max(ends))} UTC"


def sentence(level: str, findings: Sequence[Finding], collector: Job | None, complete: str) -> str:
    """The state in one sentence. complete: see `completeness`."""
    worst = next((finding.text for finding in findings if finding.level == level and finding.text != LOSS), "")
    if level == RED:
        return worst
    parts = [complete]
    if collector is not None and collector.metrics:
        parts += [loss_of(collector), f"{behind(collector):.0f} s behind"]
    return ", ".join(parts) + (f". {worst}" if level == AMBER and worst else "")


def loss_of(collector: Job) -> str:
    gaps, lost = collector.metrics.get("collector_gaps", 0), collector.metrics.get("collector_lost", 0)
    if not gaps:
        return "nothing lost since the start"
    return f"{lost:,.0f} lost in {gaps:,.0f} {'gap' if gaps == 1 else 'gaps'} since the start"


def behind(collector: Job) -> float:
    return collector.metrics.get("collector_seconds_behind", 0.0)


def silent_sources(answers: Mapping[str, Answer], now: float) -> Iterable[Finding]:
    for name, answer in answers.items():
        if answer.error and now - answer.failing_since >= FAILING_SECONDS:
            level = AMBER if name in BESIDE else RED
            since = clock(answer.failing_since)
            yield Finding(level, f"{NAMES.get(name, name.capitalize())} does not answer since {since} UTC")


def job_findings(name: str, job: Job | None, now: float) -> list[Finding]:
    if job is None:
        return []
    found = []
    if job.state != "RUNNING":
        why = f": {job.failure}" if job.failure else ""
        found.append(Finding(RED, f"{name} is {job.state}{why}"))
    elif job.failed_at and now - job.failed_at < RESTARTED_SECONDS:
        found.append(Finding(AMBER, f"{name} restarted at {clock(job.failed_at)} UTC: {job.failure}"))
    if job.back_pressure >= PRESSED:
        found.append(Finding(AMBER, f"{name} waits {job.back_pressure:.0%} of the time for what comes behind it"))
    return found


def feed_findings(collector: Job | None) -> list[Finding]:
    if collector is None or collector.state != "RUNNING" or "collector_connected" not in collector.metrics:
        return []
    metrics, found = collector.metrics, []
    if metrics.get("collector_refused"):
        found.append(Finding(RED, "The feed refuses the collector for good, or nearly everything is rejected"))
    elif not metrics["collector_connected"]:
        found.append(Finding(RED, "The collector has no connection to the feed"))
    if behind(collector) >= BEHIND_SECONDS:
        found.append(Finding(AMBER, f"The collector is {behind(collector):,.0f} s behind"))
    if metrics.get("collector_gaps"):
        found.append(Finding(AMBER, LOSS))
    return found


def document_findings(
    documents: Documents | None, aggregator: Job | None, window_seconds: int, now: float
) -> list[Finding]:
    found = []
    if documents is not None and documents.newest:
        age = now - moment(documents.newest[0].timestamp)
        if age > 2 * window_seconds + DOCUMENT_SECONDS:
            found.append(Finding(AMBER, f"The newest document is {age:,.0f} s old"))
    age = aggregator.metrics.get("enrichment_age_seconds", 0.0) if aggregator is not None else 0.0
    if age < 0:
        found.append(Finding(AMBER, "The page of the counters was not read yet"))
    elif age > OLD_COUNTERS_SECONDS:
        found.append(Finding(AMBER, f"The counters are {age / 3600:.1f} h old"))
    return found


def feed_box(answers: Mapping[str, Answer], collector: Job | None, topics: Topics | None) -> Box:
    metrics = collector.metrics if collector is not None else {}
    servers = [event.server for event in topics.events if event.server] if topics else []
    connected = metrics.get("collector_connected")
    return Box(
        title="Feed",
        level=GREEN if connected else RED if connected == 0 else AMBER,
        rate=servers[-1] if servers else "no server yet",
        lag={None: "unknown", 0.0: "not connected"}.get(connected, "connected"),
        facts=[
            ("attempts ended", whole(metrics.get("collector_reconnects"))),
            ("left for silence", whole(metrics.get("collector_silences"))),
        ],
        stale=stale(answers[COLLECTOR]),
    )


def collector_box(answers: Mapping[str, Answer], job: Job | None, board: Board, now: float) -> Box:
    metrics = job.metrics if job is not None else {}
    rate, points = board.rate("collector", now, answers[COLLECTOR], metrics.get("collector_posts"))
    return Box(
        title="Collector",
        level=level_of(job),
        rate=per_second(rate),
        lag=f"{behind(job):,.0f} s behind" if job is not None and metrics else "unknown",
        points=points,
        unit="/s",
        facts=[
            ("posts", whole(metrics.get("collector_posts"))),
            ("lost", whole(metrics.get("collector_lost"))),
            ("rejected", whole(metrics.get("collector_rejected"))),
            ("came twice, dropped", whole(metrics.get("collector_overlap"))),
        ],
        mark=pressure(job),
        link=job.url if job is not None else "",
        command=board.commands.get(COLLECTOR, ""),
        stale=stale(answers[COLLECTOR]),
    )


def topic_box(answers: Mapping[str, Answer], topics: Topics | None, board: Board, now: float) -> Box:
    rate, points = board.rate("topic", now, answers[TOPICS], topics.records if topics else None)
    lag = topics.lag if topics else None
    return Box(
        title="Topic tweets",
        level=GREEN if topics else AMBER,
        rate=per_second(rate).replace("posts", "records"),
        lag="lag unknown" if lag is None else f"{lag:,} records not yet committed by the aggregator",
        points=points,
        unit="/s",
        stale=stale(answers[TOPICS]),
    )


def aggregator_box(answers: Mapping[str, Answer], job: Job | None, board: Board, now: float) -> Box:
    metrics = job.metrics if job is not None else {}
    rate, points = board.rate("aggregator", now, answers[AGGREGATOR], metrics.get("documents_written"), SLOW_SECONDS)
    watermark = job.watermark if job is not None else None
    return Box(
        title="Aggregator",
        level=level_of(job),
        rate=f"{rate * 60:,.1f} documents a minute" if rate is not None else "rate unknown",
        lag=f"event time is {max(0.0, now - watermark):,.0f} s old" if watermark else "event time unknown",
        points=per_minute(points),
        unit="/min",
        facts=[
            ("documents written", whole(metrics.get("documents_written"))),
            ("kept as stored", whole(metrics.get("documents_kept"))),
        ],
        mark=pressure(job),
        link=job.url if job is not None else "",
        command=board.commands.get(AGGREGATOR, ""),
        stale=stale(answers[AGGREGATOR]),
    )


def store_box(
    answers: Mapping[str, Answer], documents: Documents | None, aggregator: Job | None, board: Board, now: float
) -> Box:
    newest = documents.newest[0] if documents and documents.newest else None
    written = aggregator.metrics.get("documents_written") if aggregator else None
    _, points = board.rate("store", now, answers[AGGREGATOR], written, SLOW_SECONDS)
    age = now - moment(newest.timestamp) if newest else None
    return Box(
        title="MongoDB",
        level=GREEN if documents else AMBER,
        rate=f"{newest.posts:,} posts in the newest document" if newest else "no document yet",
        lag=f"newest window ended {age:,.0f} s ago" if age is not None else "",
        points=per_minute(points),
        unit="/min",
        facts=[("answers in", f"{documents.answer_seconds * 1000:.0f} ms")] if documents else [],
        stale=stale(answers[DOCUMENTS]),
    )


def page_box(answers: Mapping[str, Answer], aggregator: Job | None) -> Box:
    metrics = aggregator.metrics if aggregator is not None else {}
    age = metrics.get("enrichment_age_seconds")
    return Box(
        title="Worldometers",
        level=AMBER if age is None or age < 0 or age > OLD_COUNTERS_SECONDS else GREEN,
        rate=f"read {whole(metrics.get('enrichment_fetches'))} times",
        lag="counters unknown" if age is None or age < 0 else f"counters are {age:,.0f} s old",
        facts=[("failed", whole(metrics.get("enrichment_failures")))],
        stale=stale(answers[AGGREGATOR]),
    )


def operations(
    answers: Mapping[str, Answer], collector: Job | None, aggregator: Job | None, now: float
) -> list[tuple[str, str]]:
    facts = []
    for name, job in (("collector", collector), ("aggregator", aggregator)):
        if job is None:
            continue
        if (last := job.checkpoint) is not None:
            took = f"took {last.seconds:.1f} s, {last.bytes / 1024:,.0f} KiB, {max(0.0, now - last.at):,.0f} s ago"
            facts.append((f"{name}: last checkpoint", took))
        facts.append((f"{name}: failed checkpoints", str(job.failed_checkpoints)))
        failure = f", last at {clock(job.failed_at)} UTC: {job.failure}" if job.failed_at else ""
        facts.append((f"{name}: restarts", f"{job.restarts}{failure}"))
    watchdog = answers[WATCHDOG].value if WATCHDOG in answers else None
    if isinstance(watchdog, Watchdog):
        facts.append(("watchdog: restarts of the simulator", listed(watchdog.restarts)))
        facts.append(("watchdog: restarts held back", listed(watchdog.suppressed)))
    return facts


def versions(board: Board, *jobs: Job | None) -> list[tuple[str, str]]:
    flink = sorted({job.flink_version for job in jobs if job is not None and job.flink_version})
    return [*board.versions, *(("Flink", version) for version in flink)]


def warnings(answers: Mapping[str, Answer]) -> Sequence[ClusterEvent] | None:
    if CLUSTER not in answers:
        return None
    value = answers[CLUSTER].value
    return value.newest if isinstance(value, ClusterEvents) else ()


def job_of(answers: Mapping[str, Answer], name: str) -> Job | None:
    value = answers[name].value
    return value if isinstance(value, Job) else None


def topics_of(answers: Mapping[str, Answer]) -> Topics | None:
    value = answers[TOPICS].value
    return value if isinstance(value, Topics) else None


def documents_of(answers: Mapping[str, Answer]) -> Documents | None:
    value = answers[DOCUMENTS].value
    return value if isinstance(value, Documents) else None


def level_of(job: Job | None) -> str:
    return AMBER if job is None else GREEN if job.state == "RUNNING" else RED


def pressure(job: Job | None) -> str:
    pressed = job is not None and job.back_pressure >= PRESSED
    return f"back-pressure {job.back_pressure:.0%}" if job is not None and pressed else ""


def stale(answer: Answer) -> str:
    return f"no answer since {clock(answer.failing_since)} UTC" if answer.error else ""


def per_second(rate: float | None) -> str:
    return "rate unknown" if rate is None else f"{rate:,.0f} posts/s" if rate >= 10 else f"{rate:.1f} posts/s"


def per_minute(points: Sequence[float | None]) -> list[float | None]:
    return [None if point is None else point * 60 for point in points]


def whole(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items()) or "none"


def moment(iso: str) -> float:
    """Seconds since 1970 UTC of an ISO 8601 text; 0 for anything else."""
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return 0.0


def clock(seconds: float) -> str:
    """The time of day in UTC."""
    whole_seconds = int(seconds) % 86_400
    return f"{whole_seconds // 3600:02d}:{whole_seconds // 60 % 60:02d}:{whole_seconds % 60:02d}"
