"""The chart's alerts, run by promtool: each fault fires its alert in time, and nothing that is normal fires any.

The faults are those that reviews and runs of this project found. A series is shaped like what Prometheus has of it:

- Its name and Flink's labels are in `metrics.prom`, taken from the pages of both jobs.
- A PodMonitor adds namespace, pod, container, endpoint, job and instance (the Prometheus operator's documentation).
- Volumes have the kubelet's metrics (Kubernetes' metrics reference). Their claims are named by the
  StatefulSet's template and by Strimzi.
- Each attempt of a task has series of its own, which begin with what was counted before they are scraped first. So did
  `failedCommittables` with 1, when the TaskManager was killed and another producer took its transactional ids.
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

SERVED = (Path(__file__).parent / "metrics.prom").read_text()
NAME, NAMESPACE = "demo-data-collection", "streaming"
OPERATOR = "flink_taskmanager_job_task_operator_"
STEP_SECONDS = 30  # between two scrapes, and between two evaluations
BREAK = 30  # the minute in which a fault begins: whatever an alert looks back at is there by then
LONG_AGO = -600.0
NEVER = math.inf

Value = Callable[[float], float]  # of the minute


@dataclass(frozen=True)
class Series:
    """value: of the minute; it is scraped from minute `begins` until before minute `ends`."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: Value
    begins: float = LONG_AGO
    ends: float = NEVER

    def until(self, minute: float) -> "Series":
        return replace(self, ends=min(self.ends, minute))

    def written(self, minutes: float) -> dict[str, str]:
        """In promtool's words, from minute 0 on."""
        values, before = [], "_"
        for step in range(int(minutes * 60 / STEP_SECONDS) + 1):
            minute = step * STEP_SECONDS / 60
            gone = "_" if before in ("_", "stale") else "stale"
            before = f"{self.value(minute):f}" if self.begins <= minute < self.ends else gone
            values.append(before)
        labels = ", ".join(f"{key}={json.dumps(text)}" for key, text in self.labels)
        return {"series": f"{self.name}{{{labels}}}", "values": " ".join(values)}


System = Mapping[str, Series]
Values = Mapping[str, Value]


def always(value: float) -> Value:
    return lambda _: value


def growing(per_minute: float, since: float = LONG_AGO, start: float = 0) -> Value:
    return lambda minute: start + per_minute * max(0.0, minute - since)


def switched(before: Value, after: Value, at: float = BREAK) -> Value:
    return lambda minute: before(minute) if minute < at else after(minute)


def stopped(value: Value, at: float = BREAK, until: float = NEVER) -> Value:
    """Stands still from minute `at` on; at minute `until` it is again where it would have been."""
    return lambda minute: value(at) if at <= minute < until else value(minute)


def served(job: str, name: str, operator: str = "") -> dict[str, str]:
    """Flink's labels of a metric in `metrics.prom`."""
    for line in SERVED.splitlines():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        ours = line.startswith(f"{name}{{") and labels["job_name"] == f"{job}_stream"
        if ours and labels.get("operator_name", "").startswith(operator):
            return labels
    raise AssertionError(f"{name} of the {job}, operator {operator}, is not in metrics.prom")


def jobmanager(job: str, *, run: int = 0, begins: float = LONG_AGO, ends: float = NEVER, **values: Value) -> System:
    """What a JobManager serves. run: each start of the job has a JobManager and a job id of its own."""
    usual: Values = {
        "uptime": growing(60_000, begins),
        "numRestarts": always(0),
        "numberOfCompletedCheckpoints": growing(30 if job == "collector" else 6, begins),
        "numberOfFailedCheckpoints": always(10),
    }
    result = {}
    for metric, value in {**usual, **values}.items():
        name = f"flink_jobmanager_job_{metric}"
        labels = served(job, name) | {"job_id": f"{run:032x}"} | target(f"{NAME}-{job}-6c7d5b9f4-{run}")
        result[f"{job} {metric} {run}"] = Series(name, tuple(labels.items()), value, begins, ends)
    return result


def task(
    job: str,
    *,
    run: int = 0,
    attempt: int = 0,
    begins: float = LONG_AGO,
    ends: float = NEVER,
    shard: str = "",
    **values: Value,
) -> System:
    """What a TaskManager serves of one attempt of the job's tasks. shard: of a collector with a parallelism above 1."""
    usual: Mapping[str, Values] = {
        "collector": {
            "collector_posts": growing(1_200, begins),
            "collector_connected": always(1),
            "collector_gaps": always(0),
            "failedCommittables": always(0),
        },
        "aggregator": {
            "documents_written": growing(3, begins),
            "rejected": always(0),
            "numLateRecordsDropped": always(0),
            "failedCommittables": always(0),
            "enrichment_age_seconds": always(30),
            "enrichment_failures": always(0),
        },
    }
    result = {}
    for metric, value in {**usual[job], **values}.items():
        writes = metric == "rejected"
        sharded = bool(shard) and metric.startswith("collector_")
        name = OPERATOR + ("numRecordsSend" if writes else f"shard_{metric}" if sharded else metric)
        labels = served(job, name, metric if writes else "") | target(f"{NAME}-{job}-taskmanager-1-{run + 1}")
        labels |= {"job_id": f"{run:032x}", "task_attempt_num": str(attempt), "task_attempt_id": f"{run}_0_{attempt}"}
        labels |= {"shard": shard} if sharded else {}
        result[f"{job} {metric} {run}.{attempt} {shard}"] = Series(name, tuple(labels.items()), value, begins, ends)
    return result


def target(pod: str) -> dict[str, str]:
    """The labels that a PodMonitor adds."""
    place = {"namespace": NAMESPACE, "pod": pod, "container": "flink-main-container"}
    return {**place, "endpoint": "metrics", "job": f"{NAMESPACE}/{NAME}", "instance": "10.244.0.17:9249"}


def volume(claim: str, used: Value) -> System:
    """What the kubelet serves of a volume. used: its share of a capacity of 5 GiB."""
    kubelet = {"job": "kubelet", "metrics_path": "/metrics", "node": "node-1", "instance": "10.0.0.5:10250"}
    labels = tuple({**kubelet, "namespace": NAMESPACE, "persistentvolumeclaim": claim}.items())
    size = 5 * 2**30
    sizes: Values = {"used": lambda minute: used(minute) * size, "capacity": always(size)}
    return {
        f"{claim} {what}": Series(f"kubelet_volume_stats_{what}_bytes", labels, value) for what, value in sizes.items()
    }


KAFKA, DATABASE, STATE = f"data-0-{NAME}-kafka-0", f"data-{NAME}-mongodb-0", f"{NAME}-flink-state"
VOLUMES = {**volume(KAFKA, always(0.3)), **volume(DATABASE, always(0.3)), **volume(STATE, always(0.1))}
COLLECTOR = {**jobmanager("collector"), **task("collector")}
AGGREGATOR = {**jobmanager("aggregator"), **task("aggregator")}
SOUND: System = {**COLLECTOR, **AGGREGATOR, **VOLUMES}


TWO_CONNECTIONS = {
    **{key: series for key, series in SOUND.items() if "collector_" not in key},
    **task("collector", shard="0"),
    **task("collector", shard="1"),
}


def gone(system: System, at: float = BREAK) -> System:
    """The series as they are when their pods are gone from minute `at` on."""
    return {key: series.until(at) for key, series in system.items()}


def again(job: str, begins: float, *, lasts: float = NEVER, run: int = 0, attempt: int = 1, **values: Value) -> System:
    """The tasks of a job in a later attempt; those of the first one ended half a minute before."""
    before = gone(task(job), begins - 0.5) if attempt == 1 else {}
    return {**before, **task(job, run=run, attempt=attempt, begins=begins, ends=begins + lasts, **values)}  # type: ignore[arg-type]


def restarting(job: str, minutes: float, until: float = BREAK + 60) -> System:
    """The tasks of a job that fail after every so many minutes, while nothing is written or committed."""
    attempts = int((until - BREAK) / minutes)
    result: dict[str, Series] = dict(gone(task(job)))
    for attempt in range(1, attempts + 1):
        begins = BREAK + attempt * minutes
        values = {"collector": {"collector_posts": always(0)}, "aggregator": {"documents_written": always(0)}}[job]
        result |= task(job, attempt=attempt, begins=begins, ends=begins + minutes - 0.5, **values)  # type: ignore[arg-type]
    return result


def restarts(minutes: float) -> Value:
    return lambda minute: max(0, int((minute - BREAK) / minutes))


def sawtooth(minutes: float) -> Value:
    """The uptime of a job that is started anew after every so many minutes."""
    return switched(growing(60_000), lambda minute: (minute - BREAK) % minutes * 60_000)


DEAD = "JobRestartsOften", "NoCheckpoint"


@dataclass(frozen=True)
class Fault:
    """alerts: which fire, each within its limit after the fault, and still do at minute `end`; no other ever does."""

    system: System
    alerts: frozenset[str]
    after: float = BREAK
    settings: tuple[str, ...] = ()


def fault(changes: System, *alerts: str, after: float = BREAK, base: System = SOUND) -> Fault:
    return Fault({**base, **changes}, frozenset(alerts), after)


STILL = stopped(growing(1_200))
LATE = growing(2_000_000, BREAK)
FAULTS = {
    # real-operators.md, E4, and review 11
    "the collector FAILED for good in an upgrade": fault(gone(COLLECTOR), "JobNotRunning"),
    "the aggregator FAILED for good": fault(gone(AGGREGATOR), "JobNotRunning", "DocumentsOld"),
    # real-operators.md, E11: no CPU is left for the TaskManager of a collector that was suspended
    "a job that is never given a TaskManager": fault(
        {
            **gone(COLLECTOR),
            **jobmanager(
                "collector",
                run=1,
                begins=BREAK + 1,
                uptime=always(0),
                numberOfCompletedCheckpoints=always(0),
                numberOfFailedCheckpoints=always(0),
            ),
        },
        "JobNotRunning",
        "NoCheckpoint",
        after=BREAK + 1,
    ),
    # review 14 (out of memory, again and again), 16 (another password), 7 (the broker is away)
    "an aggregator that dies every minute": fault(
        {
            **restarting("aggregator", 1),
            **jobmanager(
                "aggregator",
                numRestarts=restarts(1),
                uptime=sawtooth(1),
                numberOfCompletedCheckpoints=stopped(growing(6)),
                numberOfFailedCheckpoints=growing(4, BREAK, 10),
            ),
        },
        *("JobRestartsOften", "NoCheckpoint", "CheckpointsFail", "DocumentsOld"),
        after=BREAK + 4,
    ),
    "a JobManager that dies every two minutes, and forgets the restarts": fault(
        jobmanager("collector", uptime=sawtooth(2), numberOfCompletedCheckpoints=lambda minute: minute % 2 * 30),
        "JobRestartsOften",
        after=BREAK + 8,
    ),
    # review 7, 15: Kafka takes no transaction, or the storage no checkpoint
    "checkpoints that never complete": fault(
        jobmanager("collector", numberOfCompletedCheckpoints=stopped(growing(30))), "NoCheckpoint"
    ),
    "checkpoints that fail, most of them": fault(
        jobmanager(
            "collector",
            numberOfCompletedCheckpoints=switched(growing(30), growing(0.5, start=18_600)),
            numberOfFailedCheckpoints=growing(2, BREAK, 10),
        ),
        "CheckpointsFail",
    ),
    # review 15, delivery guarantees: the broker aborted the transaction; the next attempt's series begin with it
    "a commit that Kafka aborted": fault(again("collector", BREAK, failedCommittables=always(1)), "CommitFailed"),
    # real-operators.md, E8, and review 1: no document for minutes
    "a feed whose whole history comes again": fault(
        {
            **task("aggregator", rejected=LATE, documents_written=stopped(growing(3))),
            **task("collector", collector_posts=switched(growing(1_200), LATE)),
        },
        *("RecordsRejected", "DocumentsOld"),
    ),
    # real-operators.md, E4 and E10, and review 3, 9, 12 and 13
    "320 late posts": fault(task("aggregator", rejected=switched(always(0), always(320))), "RecordsRejected"),
    "late posts at once when the aggregator was restarted": fault(
        again("aggregator", BREAK, rejected=always(5_127)), "RecordsRejected"
    ),
    # review 6 a
    "heartbeats that are rejected, four a second": fault(
        task("aggregator", rejected=growing(240, BREAK)), "RecordsRejected"
    ),
    # review 5
    "a post that the window operator drops after a restart": fault(
        again("aggregator", BREAK, numLateRecordsDropped=always(1)), "PostsDropped"
    ),
    # real-operators.md, E8: four minutes whose posts nobody can count
    "a gap of unknown size": fault(task("collector", collector_gaps=switched(always(0), always(1))), "PostsLost"),
    # review 10
    "a gap that the collector finds when it starts": fault(
        again("collector", BREAK, collector_gaps=always(1)), "PostsLost"
    ),
    "a gap of the second of two connections": fault(
        task("collector", shard="1", collector_gaps=switched(always(0), always(1))), "PostsLost", base=TWO_CONNECTIONS
    ),
    "a feed that two connections cannot reach": fault(
        {
            key: series
            for shard in "01"
            for key, series in task(
                "collector",
                shard=shard,
                collector_posts=STILL,
                collector_connected=switched(always(1), always(0)),
            ).items()
        },
        *("FeedDisconnected", "NoPosts"),
        base=TWO_CONNECTIONS,
    ),
    "a server that answers pings and sends nothing": fault(task("collector", collector_posts=STILL), "NoPosts"),
    "a feed that cannot be reached": fault(
        task("collector", collector_posts=STILL, collector_connected=switched(always(1), always(0))),
        *("FeedDisconnected", "NoPosts"),
    ),
    # review 2 and 16
    "a broker whose volume fills": fault(volume(KAFKA, growing(0.001, BREAK - 10, 0.7901)), "VolumeFull"),
    "a database whose volume fills": fault(volume(DATABASE, switched(always(0.79), always(0.81))), "VolumeFull"),
    "windows of which none is written": fault(
        task("aggregator", documents_written=stopped(growing(3))), "DocumentsOld"
    ),
    "a Worldometers page that is gone": fault(
        task(
            "aggregator",
            enrichment_failures=growing(1, BREAK),
            enrichment_age_seconds=switched(always(30), growing(60, BREAK)),
        ),
        "CountersOld",
    ),
    "a Worldometers page that was never there": fault(
        again("aggregator", BREAK, enrichment_failures=growing(1, BREAK), enrichment_age_seconds=always(-1)),
        "CountersOld",
    ),
}


def started(collector_at: float, aggregator_at: float, *, run: int, backlog: float = 0) -> System:
    """Both jobs from a start on, as seen in real-operators.md: JobManagers half a minute before all tasks run,
    checkpoints that fail until then, documents a minute later. backlog: posts that are caught up with at once."""
    result: dict[str, Series] = {}
    for job, at in (("collector", collector_at), ("aggregator", aggregator_at)):
        result |= jobmanager(
            job,
            run=run,
            begins=at - 0.5,
            uptime=growing(60_000, at),
            numberOfCompletedCheckpoints=growing(30, at),
            numberOfFailedCheckpoints=switched(growing(20, at - 0.5), always(10), at),
        )
    result |= task("collector", run=run, begins=collector_at, collector_posts=growing(1_200, collector_at, backlog))
    result |= task(
        "aggregator",
        run=run,
        begins=aggregator_at,
        documents_written=growing(3, aggregator_at + 1),
        enrichment_age_seconds=switched(always(-1), always(30), aggregator_at + 1),
    )
    return result


NORMAL = {
    "a long run": SOUND,
    "a long run with two connections": TWO_CONNECTIONS,
    # The slower one of the first installs in real-operators.md: RUNNING after 188 and 205 s.
    "a first install": {**VOLUMES, **started(3.2, 3.5, run=0)},
    # `helm upgrade` with the real operators: STABLE after 112 s
    "an upgrade with savepoint, two minutes without a job": {
        **VOLUMES,
        **gone(COLLECTOR),
        **gone(AGGREGATOR),
        **started(BREAK + 2, BREAK + 2, run=1, backlog=2_400),
    },
    "an upgrade of the aggregator alone, while posts come": {
        **SOUND,
        **gone(AGGREGATOR),
        **{key: each for key, each in started(0, BREAK + 2, run=1).items() if key.startswith("aggregator")},
    },
    "a restart of the simulator, one minute": {
        **SOUND,
        **task(
            "collector",
            collector_posts=stopped(growing(1_200), until=BREAK + 1),
            collector_connected=lambda minute: float(not BREAK <= minute < BREAK + 1),
        ),
    },
    "a TaskManager that is killed once": {
        **SOUND,
        **again("aggregator", BREAK + 1),
        **jobmanager(
            "aggregator",
            uptime=switched(growing(60_000), growing(60_000, BREAK)),
            numRestarts=switched(always(0), always(1)),
            numberOfFailedCheckpoints=switched(always(10), always(14)),
        ),
    },
    "a Worldometers page that fails twice": {
        **SOUND,
        **task("aggregator", enrichment_failures=switched(always(0), always(2))),
    },
    "what happens to another release": {
        **SOUND,
        **volume("data-0-other-kafka-0", always(0.99)),
        "another job": Series(
            "flink_jobmanager_job_numRestarts",
            tuple({"job_name": "collector_stream", **target("other-collector-6c7d5b9f4-0")}.items()),
            growing(10, 0),
        ),
    },
    "no window for hours, since no post comes": {
        **SOUND,
        **task("collector", collector_posts=always(7)),
        **task("aggregator", documents_written=always(2), enrichment_age_seconds=always(20_000)),
    },
}
SETTINGS_OF_NORMAL = {
    "no window for hours, since no post comes": ("collector.settings.FEED=text",),
}
SLOW = ("collector.settings.CHECKPOINT_SECONDS=120", "aggregator.settings.WINDOW_SECONDS=3600")


def rules_of(folder: Path, *settings: str) -> dict[str, Any]:
    """The rules as the chart renders them, also as the file `rules.yaml` in the folder."""
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
    rules_of(folder)
    return folder


def limits() -> dict[str, float]:
    """Within how many minutes each alert fires, as the reference says."""
    page = (REPOSITORY / "docs/reference/metrics-and-alerts.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) min \|$", page, re.MULTILINE)
    return {alert: float(minutes) for alert, minutes in rows}


Check = tuple[str, float, Iterable[str]]  # an expression, the minute, the names of the alerts that it gives
FIRING = 'group by (alertname) (ALERTS{{alertstate="firing", alertname!~"{}"}})'


def run_rules(folder: Path, system: System, checks: Iterable[Check], minutes: float) -> None:
    """Fails with promtool's words when the rules give something else."""
    tests = [
        {
            "expr": expression,
            "eval_time": f"{round(minute * 60)}s",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
        }
        for expression, minute, alerts in checks
    ]
    series = [each.written(minutes) for each in system.values()]
    test = {"interval": f"{STEP_SECONDS}s", "input_series": series, "promql_expr_test": tests}
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_SECONDS}s", "tests": [test]}
    (folder / "test.yaml").write_text(json.dumps(content))
    promtool("test", "rules", str(folder / "test.yaml"))


def promtool(*arguments: str) -> str:
    return run_program(("promtool", *arguments), env_with_tools(), seconds=120)


def every_step(begins: float, ends: float) -> list[float]:
    return [begins + step * STEP_SECONDS / 60 for step in range(int((ends - begins) * 60 / STEP_SECONDS) + 1)]


@pytest.mark.parametrize("settings", [(), SLOW, ("collector.enabled=false",), ("prometheusRule.noPostsMinutes=0",)])
def test_promtool_takes_the_rules(tmp_path: Path, settings: tuple[str, ...]) -> None:
    rules_of(tmp_path, *settings)
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
    before: list[Check] = [(FIRING.format(""), minute, ()) for minute in every_step(0, BREAK - 0.5)]
    never: list[Check] = [(others, minute, ()) for minute in every_step(BREAK, end)]
    in_time: list[Check] = [
        (f'group by (alertname) (ALERTS{{alertstate="firing", alertname="{alert}"}})', minute, (alert,))
        for alert, minute in within.items()
    ]
    run_rules(folder, fault.system, [*before, *never, *in_time], end)


@pytest.mark.parametrize("name", NORMAL)
def test_what_is_normal_fires_nothing(tmp_path: Path, name: str) -> None:
    rules_of(tmp_path, *SETTINGS_OF_NORMAL.get(name, ()))
    end = BREAK + 30
    run_rules(tmp_path, NORMAL[name], [(FIRING.format(""), minute, ()) for minute in every_step(0, end)], end)


def test_long_windows_and_rare_checkpoints_fire_nothing(tmp_path: Path) -> None:
    rules_of(tmp_path, *SLOW)
    rare: Values = {"numberOfCompletedCheckpoints": lambda minute: max(0, int((minute - 3) / 2))}
    system = {
        **VOLUMES,
        **started(3, 3, run=0),
        **jobmanager("collector", begins=2.5, **rare),  # type: ignore[arg-type]
        **task("aggregator", begins=3, documents_written=lambda minute: max(0, int((minute - 4) / 60))),
    }
    run_rules(tmp_path, system, [(FIRING.format(""), minute, ()) for minute in every_step(0, 240)], 240)


@pytest.mark.parametrize(
    ("settings", "minutes"),
    [
        ((), 5),
        (("collector.settings.FEED=text",), None),
        (("collector.settings.MAX_SILENCE_SECONDS=0",), None),
        (("collector.settings.FEED=text", "collector.settings.MAX_SILENCE_SECONDS=60"), 5),
        (("collector.settings.FEED=text", "prometheusRule.noPostsMinutes=30"), 30),
        (("prometheusRule.noPostsMinutes=0",), None),
        (("prometheusRule.noPostsMinutes=1",), 1),
    ],
)
def test_a_feed_that_may_be_silent(tmp_path: Path, settings: tuple[str, ...], minutes: int | None) -> None:
    rules_of(tmp_path, *settings)
    system = FAULTS["a server that answers pings and sends nothing"].system
    first = BREAK + minutes if minutes else NEVER
    checks = [
        (FIRING.format(""), minute, ("NoPosts",) if minute >= first else ()) for minute in every_step(0, BREAK + 60)
    ]
    run_rules(tmp_path, system, checks, BREAK + 60)
