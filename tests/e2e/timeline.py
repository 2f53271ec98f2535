"""The time line of an install: when each step was done, as Kubernetes and Flink report it afterwards.

Nothing is polled for it, since that would delay what is measured. Kubernetes reports whole seconds.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deploy.cluster import Object
from deploy.release import JOBS, RELEASE
from jobs.documents import unix
from tests.e2e.release import Release
from tests.support.waiting import await_value

REST_PORT = 8081


@dataclass(frozen=True)
class Step:
    """A step that was done at `at` (Unix time)."""

    what: str
    at: float


def table(steps: Iterable[Step], begun: float) -> str:
    """One line for each step, in order: seconds since `begun`, seconds since the step before, and the step."""
    lines, before = ["  after   since", "    [s]     [s]  step"], begun
    for step in sorted(steps, key=lambda each: each.at):
        lines.append(f"{step.at - begun:7.1f} {step.at - before:7.1f}  {step.what}")
        before = step.at
    return "\n".join(lines)


def steps(release: Release) -> list[Step]:
    """The steps of a release whose two jobs have completed their first checkpoint."""
    namespace, cluster = release.namespace.name, release.namespace.cluster
    secrets = [each for each in cluster.list("secrets", namespace) if RELEASE in each["metadata"]["name"]]
    made = [*secrets, *cluster.list("flinkdeployments", namespace)]
    workloads = [pod for part in ("mongodb", "simulator") for pod in cluster.list("pods", namespace, selector(part))]
    return [
        Step("Kafka Ready", max(ready_at(pod) for pod in cluster.list("pods", namespace, "app=kafka"))),
        Step("Secrets and FlinkDeployments made", max(created_at(each) for each in made)),
        Step("MongoDB and the simulator Ready", max(map(ready_at, workloads))),
        *(step for job in JOBS for step in steps_of_job(release, job)),
    ]


def steps_of_job(release: Release, job: str) -> list[Step]:
    namespace, cluster = release.namespace.name, release.namespace.cluster
    (manager,) = cluster.list("pods", namespace, f"app={RELEASE}-{job},component=jobmanager")
    (worker,) = cluster.list("pods", namespace, f"app={RELEASE}-{job},component=taskmanager")
    path = f"/jobs/{release.job(job)['jobStatus']['jobId']}"

    def flink(part: str = "") -> dict[str, Any]:
        return dict(json.loads(cluster.http(manager["metadata"]["name"], REST_PORT, path + part, namespace)))

    found = flink()
    tasks = [task for vertex in found["vertices"] for task in flink(f"/vertices/{vertex['id']}")["subtasks"]]

    def first_checkpoint() -> dict[str, Any] | None:
        completed = (each for each in flink("/checkpoints")["history"][::-1] if each["status"] == "COMPLETED")
        return next(completed, None)

    first = await_value(first_checkpoint, f"a completed checkpoint of the {job}", 60)
    return [
        Step(f"{job}: JobManager's pod made", created_at(manager)),
        Step(f"{job}: JobManager's container runs", container_started_at(manager)),
        Step(f"{job}: submitted", found["timestamps"]["CREATED"] / 1000),
        Step(f"{job}: TaskManager's pod made", created_at(worker)),
        Step(f"{job}: TaskManager's container runs", container_started_at(worker)),
        Step(f"{job}: TaskManager has the tasks", min(task["start-time"] for task in tasks) / 1000),
        Step(f"{job}: all tasks RUNNING", max(map(running_at, tasks))),
        Step(
            f"{job}: first checkpoint of those listed complete (number {first['id']})",
            first["latest_ack_timestamp"] / 1000,
        ),
    ]


def selector(component: str) -> str:
    return f"app.kubernetes.io/component={component}"


def created_at(found: Object) -> float:
    return unix(found["metadata"]["creationTimestamp"])


def container_started_at(pod: Object) -> float:
    return unix(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])


def ready_at(pod: Object) -> float:
    return next(unix(each["lastTransitionTime"]) for each in pod["status"]["conditions"] if each["type"] == "Ready")


def running_at(task: dict[str, Any]) -> float:
    """Unix time at which a task of Flink's REST API began to run. `start-time`: it was sent to the TaskManager."""
    durations = task["status-duration"]
    return float(task["start-time"] + sum(max(durations[each], 0) for each in ("DEPLOYING", "INITIALIZING"))) / 1000
