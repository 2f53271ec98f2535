"""promtool runs the chart's alerts: each fault fires its alerts in time, and normal operation fires none.

Reviews and runs of this project found the faults. The series are like those that Prometheus scrapes:

- Names and Flink's labels come from `metrics.prom`, a copy of what both jobs export.
- A PodMonitor adds namespace, pod, container, endpoint, job and instance (documentation of the Prometheus operator).
- The kubelet exports the metrics of volumes (metrics reference of Kubernetes). The StatefulSet's template and Strimzi
  name the claims.
- Each attempt of a task has its own series. Its first value is what the attempt counted before the first scrape: for
  example 1 for `failedCommittables`, if the TaskManager was killed and another producer took its transactional ids.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.chart import copy_without_dependencies
from deploy.cluster import env_with_tools, run_program
from images.build import REPOSITORY

EXPORTED = (Path(__file__).parent / "metrics.prom").read_text()
NAME, NAMESPACE = "demo-data-collection", "streaming"
OPERATOR = "flink_taskmanager_job_task_operator_"
STEP_SECONDS = 30  # between two scrapes, and between two evaluations
FAULT_MINUTE = 30  # a fault begins in this minute; by then the series are as long as the range of each alert
BEFORE_START = -600.0
NEVER = math.inf

Value = Callable[[float], float]  # of the minute


@dataclass(frozen=True)
class Series:
    """A series that Prometheus scrapes from minute `begins` until before minute `ends`. value: of the minute."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: Value
    begins: float = BEFORE_START
    ends: float = NEVER

    def until(self, minute: float) -> "Series":
        return replace(self, ends=min(self.ends, minute))

    def to_promtool(self, minutes: float) -> dict[str, str]:
        """The series in promtool's format, from minute 0 on."""
        values, before = [], "_"
        for step in range(int(minutes * 60 / STEP_SECONDS) + 1):
            minute = step * STEP_SECONDS / 60
            no_sample = "_" if before in ("_", "stale") else "stale"
            before = f"{self.value(minute):f}" if self.begins <= minute < self.ends else no_sample
            values.append(before)
        labels = ", ".join(f"{key}={json.dumps(text)}" for key, text in self.labels)
        return {"series": f"{self.name}{{{labels}}}", "values": " ".join(values)}


SeriesByKey = Mapping[str, Series]
Values = Mapping[str, Value]


def constant(value: float) -> Value:
    return lambda _: value


def increasing(per_minute: float, since: float = BEFORE_START, start: float = 0) -> Value:
    return lambda minute: start + per_minute * max(0.0, minute - since)


def changing(before: Value, after: Value, at: float = FAULT_MINUTE) -> Value:
    return lambda minute: before(minute) if minute < at else after(minute)


def stopped(value: Value, at: float = FAULT_MINUTE, until: float = NEVER) -> Value:
    """Constant from minute `at` on. From minute `until` on, `value` again."""
    return lambda minute: value(at) if at <= minute < until else value(minute)


def exported_labels(job: str, name: str, operator: str = "") -> dict[str, str]:
    """Flink's labels of a metric in `metrics.prom`."""
    for line in EXPORTED.splitlines():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        matches = line.startswith(f"{name}{{") and labels["job_name"] == f"{job}_stream"
        if matches and labels.get("operator_name", "").startswith(operator):
            return labels
    raise AssertionError(f"{name} of the {job}, operator {operator}, is not in metrics.prom")


def jobmanager(
    job: str, *, run: int = 0, begins: float = BEFORE_START, ends: float = NEVER, **values: Value
) -> SeriesByKey:
    """The metrics of a JobManager. run: each start of the job has another JobManager and another job id."""
    usual: Values = {
        "uptime": increasing(60_000, begins),
        "numRestarts": constant(0),
        "numberOfCompletedCheckpoints": increasing(30 if job == "collector" else 6, begins),
        "numberOfFailedCheckpoints": constant(10),
    }
    result = {}
    for metric, value in {**usual, **values}.items():
        name = f"flink_jobmanager_job_{metric}"
        labels = exported_labels(job, name) | {"job_id": f"{run:032x}"} | target(f"{NAME}-{job}-6c7d5b9f4-{run}")
        result[f"{job} {metric} {run}"] = Series(name, tuple(labels.items()), value, begins, ends)
    return result


def task(
    job: str,
    *,
    run: int = 0,
    attempt: int = 0,
    begins: float = BEFORE_START,
    ends: float = NEVER,
    shard: str = "",
    **values: Value,
) -> SeriesByKey:
    """A TaskManager's metrics of one attempt of the job's tasks. shard: of a collector with a parallelism above 1."""
    usual: Mapping[str, Values] = {
        "collector": {
            "collector_posts": increasing(1_200, begins),
            "collector_connected": constant(1),
            "collector_refused": constant(0),
            "collector_gaps": constant(0),
            "failedCommittables": constant(0),
        },
        "aggregator": {
            "documents_written": increasing(3, begins),
            "rejected": constant(0),
            "numLateRecordsDropped": constant(0),
            "failedCommittables": constant(0),
            "enrichment_age_seconds": constant(30),
            "enrichment_failures": constant(0),
        },
    }
    result = {}
    for metric, value in {**usual[job], **values}.items():
        writes = metric == "rejected"
        sharded = bool(shard) and metric.startswith("collector_")
        name = OPERATOR + ("numRecordsSend" if writes else f"shard_{metric}" if sharded else metric)
        labels = exported_labels(job, name, metric if writes else "") | target(f"{NAME}-{job}-taskmanager-1-{run + 1}")
        labels |= {"job_id": f"{run:032x}", "task_attempt_num": str(attempt), "task_attempt_id": f"{run}_0_{attempt}"}
        labels |= {"shard": shard} if sharded else {}
        result[f"{job} {metric} {run}.{attempt} {shard}"] = Series(name, tuple(labels.items()), value, begins, ends)
    return result


def target(pod: str) -> dict[str, str]:
    """The labels that a PodMonitor adds."""
    target_pod = {"namespace": NAMESPACE, "pod": pod, "container": "flink-main-container"}
    return {**target_pod, "endpoint": "metrics", "job": f"{NAMESPACE}/{NAME}", "instance": "10.244.0.17:9249"}


def volume(claim: str, used: Value) -> SeriesByKey:
    """The kubelet's metrics of a volume with 5 GiB. used: the used share."""
    kubelet = {"job": "kubelet", "metrics_path": "/metrics", "node": "node-1", "instance": "10.0.0.5:10250"}
    labels = tuple({**kubelet, "namespace": NAMESPACE, "persistentvolumeclaim": claim}.items())
    size = 5 * 2**30
    sizes: Values = {"used": lambda minute: used(minute) * size, "capacity": constant(size)}
    return {
        f"{claim} {what}": Series(f"kubelet_volume_stats_{what}_bytes", labels, value) for what, value in sizes.items()
    }


KAFKA, DATABASE, STATE = f"data-0-{NAME}-kafka-0", f"data-{NAME}-mongodb-0", f"{NAME}-flink-state"
VOLUMES = {**volume(KAFKA, constant(0.3)), **volume(DATABASE, constant(0.3)), **volume(STATE, constant(0.1))}
COLLECTOR = {**jobmanager("collector"), **task("collector")}
AGGREGATOR = {**jobmanager("aggregator"), **task("aggregator")}
HEALTHY: SeriesByKey = {**COLLECTOR, **AGGREGATOR, **VOLUMES}


TWO_CONNECTIONS = {
    **{key: series for key, series in HEALTHY.items() if "collector_" not in key},
    **task("collector", shard="0"),
    **task("collector", shard="1"),
}


def ended(metrics: SeriesByKey, at: float = FAULT_MINUTE) -> SeriesByKey:
    """The series, if their pods end in minute `at`."""
    return {key: series.until(at) for key, series in metrics.items()}


def later_attempt(
    job: str, begins: float, *, lasts: float = NEVER, run: int = 0, attempt: int = 1, **values: Value
) -> SeriesByKey:
    """The tasks of a job in a later attempt. The first attempt ended half a minute before."""
    before = ended(task(job), begins - 0.5) if attempt == 1 else {}
    return {**before, **task(job, run=run, attempt=attempt, begins=begins, ends=begins + lasts, **values)}  # type: ignore[arg-type]


def restarting(job: str, minutes: float, until: float = FAULT_MINUTE + 60) -> SeriesByKey:
    """The tasks of a job that fail every so many minutes, and write and commit nothing."""
    attempts = int((until - FAULT_MINUTE) / minutes)
    result: dict[str, Series] = dict(ended(task(job)))
    for attempt in range(1, attempts + 1):
        begins = FAULT_MINUTE + attempt * minutes
        values = {"collector": {"collector_posts": constant(0)}, "aggregator": {"documents_written": constant(0)}}[job]
        result |= task(job, attempt=attempt, begins=begins, ends=begins + minutes - 0.5, **values)  # type: ignore[arg-type]
    return result


def restarts(minutes: float) -> Value:
    return lambda minute: max(0, int((minute - FAULT_MINUTE) / minutes))


def sawtooth(minutes: float) -> Value:
    """The uptime of a job that restarts every so many minutes."""
    return changing(increasing(60_000), lambda minute: (minute - FAULT_MINUTE) % minutes * 60_000)


@dataclass(frozen=True)
class Fault:
    """A fault that begins in minute `after`. Each of `alerts` fires within its limit and no other alert fires."""

    series: SeriesByKey
    alerts: frozenset[str]
    after: float = FAULT_MINUTE
    settings: tuple[str, ...] = ()


def fault(changes: SeriesByKey, *alerts: str, after: float = FAULT_MINUTE, base: SeriesByKey = HEALTHY) -> Fault:
    return Fault({**base, **changes}, frozenset(alerts), after)


NO_NEW_POSTS = stopped(increasing(1_200))
HISTORY_AGAIN = increasing(2_000_000, FAULT_MINUTE)
FAULTS = {
    "the collector is FAILED after an upgrade": fault(ended(COLLECTOR), "JobNotRunning"),
    "the aggregator is FAILED": fault(ended(AGGREGATOR), "JobNotRunning", "DocumentsOld"),
    # For example after a suspension, when no CPU is left for its TaskManager.
    "a job that gets no TaskManager": fault(
        {
            **ended(COLLECTOR),
            **jobmanager(
                "collector",
                run=1,
                begins=FAULT_MINUTE + 1,
                uptime=constant(0),
                numberOfCompletedCheckpoints=constant(0),
                numberOfFailedCheckpoints=constant(0),
            ),
        },
        "JobNotRunning",
        "NoCheckpoint",
        after=FAULT_MINUTE + 1,
    ),
    # For example out of memory, with a wrong password, or while the broker is down.
    "an aggregator that fails every minute": fault(
        {
            **restarting("aggregator", 1),
            **jobmanager(
                "aggregator",
                numRestarts=restarts(1),
                uptime=sawtooth(1),
                numberOfCompletedCheckpoints=stopped(increasing(6)),
                numberOfFailedCheckpoints=increasing(4, FAULT_MINUTE, 10),
            ),
        },
        *("JobRestartsOften", "NoCheckpoint", "CheckpointsFail", "DocumentsOld"),
        after=FAULT_MINUTE + 4,
    ),
    "a JobManager that fails every two minutes and so resets numRestarts": fault(
        jobmanager("collector", uptime=sawtooth(2), numberOfCompletedCheckpoints=lambda minute: minute % 2 * 30),
        "JobRestartsOften",
        after=FAULT_MINUTE + 8,
    ),
    # Kafka rejects the transactions, or the storage rejects the checkpoints.
    "checkpoints that never complete": fault(
        jobmanager("collector", numberOfCompletedCheckpoints=stopped(increasing(30))), "NoCheckpoint"
    ),
    "most checkpoints fail": fault(
        jobmanager(
            "collector",
            numberOfCompletedCheckpoints=changing(increasing(30), increasing(0.5, start=18_600)),
            numberOfFailedCheckpoints=increasing(2, FAULT_MINUTE, 10),
        ),
        "CheckpointsFail",
    ),
    # The broker aborted the transaction. The series of the next attempt begin with 1.
    "a commit that Kafka aborted": fault(
        later_attempt("collector", FAULT_MINUTE, failedCommittables=constant(1)), "CommitFailed"
    ),
    "a feed that sends its whole history again": fault(
        {
            **task("aggregator", rejected=HISTORY_AGAIN, documents_written=stopped(increasing(3))),
            **task("collector", collector_posts=changing(increasing(1_200), HISTORY_AGAIN)),
        },
        *("RecordsRejected", "DocumentsOld"),
    ),
    "320 late posts": fault(task("aggregator", rejected=changing(constant(0), constant(320))), "RecordsRejected"),
    "late posts right after a restart of the aggregator": fault(
        later_attempt("aggregator", FAULT_MINUTE, rejected=constant(5_127)), "RecordsRejected"
    ),
    "four rejected heartbeats a second": fault(
        task("aggregator", rejected=increasing(240, FAULT_MINUTE)), "RecordsRejected"
    ),
    "a post that the window operator drops after a restart": fault(
        later_attempt("aggregator", FAULT_MINUTE, numLateRecordsDropped=constant(1)), "PostsDropped"
    ),
    "a gap of unknown size": fault(task("collector", collector_gaps=changing(constant(0), constant(1))), "PostsLost"),
    "a gap that the collector finds when it starts": fault(
        later_attempt("collector", FAULT_MINUTE, collector_gaps=constant(1)), "PostsLost"
    ),
    "a gap of the second of two connections": fault(
        task("collector", shard="1", collector_gaps=changing(constant(0), constant(1))),
        "PostsLost",
        base=TWO_CONNECTIONS,
    ),
    "a feed that two connections cannot reach": fault(
        {
            key: series
            for shard in "01"
            for key, series in task(
                "collector",
                shard=shard,
                collector_posts=NO_NEW_POSTS,
                collector_connected=changing(constant(1), constant(0)),
            ).items()
        },
        *("FeedDisconnected", "NoPosts"),
        base=TWO_CONNECTIONS,
    ),
    "a server that answers pings and sends nothing": fault(task("collector", collector_posts=NO_NEW_POSTS), "NoPosts"),
    "a feed that cannot be reached": fault(
        task("collector", collector_posts=NO_NEW_POSTS, collector_connected=changing(constant(1), constant(0))),
        *("FeedDisconnected", "NoPosts"),
    ),
    "a server that refuses the token": fault(
        task(
            "collector",
            collector_posts=NO_NEW_POSTS,
            collector_connected=changing(constant(1), constant(0)),
            collector_refused=changing(constant(0), constant(1)),
        ),
        *("FeedRefused", "FeedDisconnected", "NoPosts"),
    ),
    "a feed whose frames are nearly all rejected, at the second of two connections": fault(
        task(
            "collector",
            shard="1",
            collector_posts=NO_NEW_POSTS,
            collector_connected=changing(constant(1), constant(0)),
            collector_refused=changing(constant(0), constant(1)),
        ),
        *("FeedRefused", "FeedDisconnected"),
        base=TWO_CONNECTIONS,
    ),
    "a broker whose volume fills": fault(volume(KAFKA, increasing(0.001, FAULT_MINUTE - 10, 0.7901)), "VolumeFull"),
    "a database whose volume fills": fault(volume(DATABASE, changing(constant(0.79), constant(0.81))), "VolumeFull"),
    "no window is written": fault(task("aggregator", documents_written=stopped(increasing(3))), "DocumentsOld"),
    "a Worldometers page that becomes unavailable": fault(
        task(
            "aggregator",
            enrichment_failures=increasing(1, FAULT_MINUTE),
            enrichment_age_seconds=changing(constant(30), increasing(60, FAULT_MINUTE)),
        ),
        "CountersOld",
    ),
    "a Worldometers page that was never available": fault(
        later_attempt(
            "aggregator",
            FAULT_MINUTE,
            enrichment_failures=increasing(1, FAULT_MINUTE),
            enrichment_age_seconds=constant(-1),
        ),
        "CountersOld",
    ),
}


def started(collector_at: float, aggregator_at: float, *, run: int, backlog: float = 0) -> SeriesByKey:
    """Both jobs after a start, as seen with the real operators: the JobManagers start half a minute before the tasks,
    checkpoints fail until then, and the first documents come a minute later.

    backlog: posts that the collector reads at once
    """
    result: dict[str, Series] = {}
    for job, at in (("collector", collector_at), ("aggregator", aggregator_at)):
        result |= jobmanager(
            job,
            run=run,
            begins=at - 0.5,
            uptime=increasing(60_000, at),
            numberOfCompletedCheckpoints=increasing(30, at),
            numberOfFailedCheckpoints=changing(increasing(20, at - 0.5), constant(10), at),
        )
    result |= task("collector", run=run, begins=collector_at, collector_posts=increasing(1_200, collector_at, backlog))
    result |= task(
        "aggregator",
        run=run,
        begins=aggregator_at,
        documents_written=increasing(3, aggregator_at + 1),
        enrichment_age_seconds=changing(constant(-1), constant(30), aggregator_at + 1),
    )
    return result


NORMAL_OPERATION = {
    "a long run": HEALTHY,
    "a long run with two connections": TWO_CONNECTIONS,
    # The slowest one with the real operators: RUNNING after 188 and 205 s.
    "a first install": {**VOLUMES, **started(3.2, 3.5, run=0)},
    # With the real operators: STABLE after 112 s.
    "an upgrade with savepoint, two minutes without a job": {
        **VOLUMES,
        **ended(COLLECTOR),
        **ended(AGGREGATOR),
        **started(FAULT_MINUTE + 2, FAULT_MINUTE + 2, run=1, backlog=2_400),
    },
    "an upgrade of only the aggregator": {
        **HEALTHY,
        **ended(AGGREGATOR),
        **{key: each for key, each in started(0, FAULT_MINUTE + 2, run=1).items() if key.startswith("aggregator")},
    },
    "a restart of the simulator, one minute": {
        **HEALTHY,
        **task(
            "collector",
            collector_posts=stopped(increasing(1_200), until=FAULT_MINUTE + 1),
            collector_connected=lambda minute: float(not FAULT_MINUTE <= minute < FAULT_MINUTE + 1),
        ),
    },
    "a TaskManager that is killed once": {
        **HEALTHY,
        **later_attempt("aggregator", FAULT_MINUTE + 1),
        **jobmanager(
            "aggregator",
            uptime=changing(increasing(60_000), increasing(60_000, FAULT_MINUTE)),
            numRestarts=changing(constant(0), constant(1)),
            numberOfFailedCheckpoints=changing(constant(10), constant(14)),
        ),
    },
    "a Worldometers page that fails twice": {
        **HEALTHY,
        **task("aggregator", enrichment_failures=changing(constant(0), constant(2))),
    },
    "faults of another release": {
        **HEALTHY,
        **volume("data-0-other-kafka-0", constant(0.99)),
        "another job": Series(
            "flink_jobmanager_job_numRestarts",
            tuple({"job_name": "collector_stream", **target("other-collector-6c7d5b9f4-0")}.items()),
            increasing(10, 0),
        ),
    },
    "no window for hours, because there are no posts": {
        **HEALTHY,
        **task("collector", collector_posts=constant(7)),
        **task("aggregator", documents_written=constant(2), enrichment_age_seconds=constant(20_000)),
    },
}
SETTINGS_OF_NORMAL_OPERATION = {
    "no window for hours, because there are no posts": ("collector.settings.FEED=text",),
}
OWN_FEED = (
    "collector.feed.name=own",
    "collector.feed.post.text=text",
    "collector.feed.connect.urls[0]=wss://feed.example.com",
)
LONG_INTERVALS = ("collector.settings.CHECKPOINT_SECONDS=120", "aggregator.settings.WINDOW_SECONDS=3600")


def render_rules(folder: Path, *settings: str) -> dict[str, Any]:
    """The rules that the chart renders. Also writes them to `rules.yaml` in the folder."""
    chart = copy_without_dependencies(folder)
    values = [part for setting in ("prometheusRule.enabled=true", *settings) for part in ("--set", setting)]
    show = ("--show-only", "templates/monitoring/prometheusrule.yaml")
    command = (
        "helm",
        "template",
        "demo",
        str(chart),
        "--namespace",
        NAMESPACE,
        "--kube-version=1.30.0",
        *show,
        *values,
    )
    rules: dict[str, Any] = YAML(typ="safe").load(run_program(command, env_with_tools()))["spec"]
    (folder / "rules.yaml").write_text(json.dumps(rules))
    return rules


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    render_rules(folder)
    return folder


def limits() -> dict[str, float]:
    """Within how many minutes each alert fires, as the reference says."""
    page = (REPOSITORY / "docs/reference/metrics-and-alerts.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) min \|$", page, re.MULTILINE)
    return {alert: float(minutes) for alert, minutes in rows}


Check = tuple[str, float, Iterable[str]]  # expression, minute, names of the alerts in its result
FIRING = 'group by (alertname) (ALERTS{{alertstate="firing", alertname!~"{}"}})'


def run_rules(folder: Path, inputs: SeriesByKey, checks: Iterable[Check], minutes: float) -> None:
    """Run promtool. It fails if a result differs from its check."""
    tests = [
        {
            "expr": expression,
            "eval_time": f"{round(minute * 60)}s",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
        }
        for expression, minute, alerts in checks
    ]
    series = [each.to_promtool(minutes) for each in inputs.values()]
    test = {"interval": f"{STEP_SECONDS}s", "input_series": series, "promql_expr_test": tests}
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_SECONDS}s", "tests": [test]}
    (folder / "test.yaml").write_text(json.dumps(content))
    promtool("test", "rules", str(folder / "test.yaml"))


def promtool(*arguments: str) -> str:
    return run_program(("promtool", *arguments), env_with_tools(), seconds=120)


def every_step(begins: float, ends: float) -> list[float]:
    return [begins + step * STEP_SECONDS / 60 for step in range(int((ends - begins) * 60 / STEP_SECONDS) + 1)]


@pytest.mark.parametrize(
    "settings", [(), LONG_INTERVALS, ("collector.enabled=false",), ("prometheusRule.noPostsMinutes=0",)]
)
def test_promtool_accepts_the_rules(tmp_path: Path, settings: tuple[str, ...]) -> None:
    render_rules(tmp_path, *settings)
    promtool("check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml"))


def test_each_alert_is_documented_and_has_a_fault(folder: Path) -> None:
    rules = json.loads((folder / "rules.yaml").read_text())["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules}
    assert set(limits()) == alerts
    assert {alert for each in FAULTS.values() for alert in each.alerts} == alerts


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fires_its_alerts_in_time(folder: Path, name: str) -> None:
    fault = FAULTS[name]
    within = {alert: fault.after + limits()[alert] for alert in fault.alerts}
    others = FIRING.format("|".join(sorted(fault.alerts)))
    end = max(within.values())
    before: list[Check] = [(FIRING.format(""), minute, ()) for minute in every_step(0, FAULT_MINUTE - 0.5)]
    never: list[Check] = [(others, minute, ()) for minute in every_step(FAULT_MINUTE, end)]
    in_time: list[Check] = [
        (f'group by (alertname) (ALERTS{{alertstate="firing", alertname="{alert}"}})', minute, (alert,))
        for alert, minute in within.items()
    ]
    run_rules(folder, fault.series, [*before, *never, *in_time], end)


@pytest.mark.parametrize("name", NORMAL_OPERATION)
def test_normal_operation_fires_no_alert(tmp_path: Path, name: str) -> None:
    render_rules(tmp_path, *SETTINGS_OF_NORMAL_OPERATION.get(name, ()))
    end = FAULT_MINUTE + 30
    run_rules(tmp_path, NORMAL_OPERATION[name], [(FIRING.format(""), minute, ()) for minute in every_step(0, end)], end)


def test_long_windows_and_rare_checkpoints_fire_no_alert(tmp_path: Path) -> None:
    render_rules(tmp_path, *LONG_INTERVALS)
    rare: Values = {"numberOfCompletedCheckpoints": lambda minute: max(0, int((minute - 3) / 2))}
    series = {
        **VOLUMES,
        **started(3, 3, run=0),
        **jobmanager("collector", begins=2.5, **rare),  # type: ignore[arg-type]
        **task("aggregator", begins=3, documents_written=lambda minute: max(0, int((minute - 4) / 60))),
    }
    run_rules(tmp_path, series, [(FIRING.format(""), minute, ()) for minute in every_step(0, 240)], 240)


@pytest.mark.parametrize(
    ("settings", "minutes"),
    [
        ((), 5),
        (("collector.settings.FEED=text",), None),
        (("collector.feed=text",), None),
        ((*OWN_FEED, "collector.feed.keepalive.max_silence=0"), None),
        (OWN_FEED, 5),
        (("collector.settings.MAX_SILENCE_SECONDS=0",), None),
        (("collector.settings.FEED=text", "collector.settings.MAX_SILENCE_SECONDS=60"), 5),
        (("collector.settings.FEED=text", "prometheusRule.noPostsMinutes=30"), 30),
        (("prometheusRule.noPostsMinutes=0",), None),
        (("prometheusRule.noPostsMinutes=1",), 1),
    ],
)
def test_no_posts_fires_only_if_the_feed_must_send_posts(
    tmp_path: Path, settings: tuple[str, ...], minutes: int | None
) -> None:
    render_rules(tmp_path, *settings)
    series = FAULTS["a server that answers pings and sends nothing"].series
    first = FAULT_MINUTE + minutes if minutes else NEVER
    checks = [
        (FIRING.format(""), minute, ("NoPosts",) if minute >= first else ())
        for minute in every_step(0, FAULT_MINUTE + 60)
    ]
    run_rules(tmp_path, series, checks, FAULT_MINUTE + 60)
