"""Reads a job from Flink's REST API."""

import re
import time
from collections.abc import Callable
from typing import Any

from console.failure import root_cause
from console.observations import Checkpoint, Job
from console.sources.http import HttpClient

LIST_SECONDS = 10.0
# Each shard of a collector has these metrics. One shard without a connection is a fault, as in the alerts.
COMBINED: dict[str, Callable[[float, float], float]] = {
    "collector_connected": min,
    "collector_refused": max,
    "collector_seconds_behind": max,
    "collector_seconds_since_frame": max,
    "enrichment_age_seconds": max,
}
MAX_TASKS = 200
# The jobs' own metrics, and the task metrics that show back-pressure.
OWN = re.compile(r"collector_\w+|documents_\w+|enrichment_\w+")
# In these states a job will not run again by itself, or runs.
ORDER = ("RUNNING", "INITIALIZING", "CREATED", "RESTARTING", "FAILING", "RECONCILING", "SUSPENDED")


class FlinkJob:
    """The newest job with this name. `read` raises HttpClient's errors, and KeyError for a foreign answer.

    url: Flink's REST API. page: the address of Flink's pages for a browser; "" if a browser cannot reach them.
    """

    def __init__(self, url: str, name: str, page: str) -> None:
        self._page = page.rstrip("/")
        self._name = name
        # Of the job that was read last: its identity, its settings, and Flink's version. They never change.
        self._fixed: tuple[str, dict[str, str], str] = ("", {}, "")
        # The metrics of each task that are read. Tasks register theirs some time after their start.
        self._wanted: dict[str, tuple[float, list[str]]] = {}
        self._client = HttpClient(url)

    def read(self) -> Job:
        jobs = [job for job in self._get("/jobs/overview")["jobs"] if job["name"] == self._name]
        if not jobs:
            return Job(self._name, "ABSENT", 0.0)
        newest = max(jobs, key=lambda job: (job["state"] in ORDER, job["start-time"]))
        return self._job(newest["jid"], newest["state"], newest["start-time"] / 1000)

    def _job(self, identity: str, state: str, started_at: float) -> Job:
        path = f"/jobs/{identity}"
        vertices = self._get(path)["vertices"]
        checkpoints = self._get(f"{path}/checkpoints")
        completed = checkpoints.get("latest", {}).get("completed")
        failures = self._get(f"{path}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        restarts = self._get(f"{path}/metrics?get=numRestarts")
        if self._fixed[0] != identity:
            settings = self._get(f"{path}/config")["execution-config"]["user-config"]
            self._fixed = identity, settings, self._get("/config")["flink-version"]
        metrics, pressures, watermarks = self._metrics(path, vertices)
        return Job(
            name=self._name,
            state=state,
            started_at=started_at,
            url=f"{self._page}/#/job/running/{identity}/overview" if self._page else "",
            restarts=int(float(restarts[0]["value"])) if restarts else 0,
            failure=root_cause(failures[0].get("stacktrace") or failures[0]["exceptionName"]) if failures else "",
            failed_at=failures[0]["timestamp"] / 1000 if failures else 0.0,
            checkpoint=checkpoint_of(completed),
            failed_checkpoints=checkpoints.get("counts", {}).get("failed", 0),
            back_pressure=max(pressures, default=0.0),
            watermark=min(watermarks, default=None),
            metrics=metrics,
            settings=self._fixed[1],
            flink_version=self._fixed[2],
        )

    def _metrics(self, path: str, vertices: list[Any]) -> tuple[dict[str, float], list[float], list[float]]:
        own: dict[str, float] = {}
        pressures: list[float] = []
        watermarks: list[float] = []
        for vertex in vertices:
            base = f"{path}/vertices/{vertex['id']}/metrics"
            wanted = self._wanted_metrics(base)
            for each in self._get(f"{base}?get={','.join(wanted)}") if wanted else ():
                name, value = each["id"].rpartition(".")[2], float(each["value"])
                if name == "backPressuredTimeMsPerSecond":
                    pressures.append(value / 1000)
                elif name == "currentInputWatermark":
                    watermarks.append(value / 1000)
                else:
                    combine = COMBINED.get(name, add)
                    own[name] = combine(own[name], value) if name in own else value
        # Flink's lowest number stands for no watermark yet.
        return own, pressures, [each for each in watermarks if each > 0]

    def _wanted_metrics(self, base: str) -> list[str]:
        """Their list is long, so it is read again only after LIST_SECONDS."""
        at, wanted = self._wanted.get(base, (0.0, []))
        if not wanted or time.monotonic() - at > LIST_SECONDS:
            wanted = [each["id"] for each in self._get(base) if is_wanted(each["id"])]
            if len(self._wanted) > MAX_TASKS:  # those of former jobs
                self._wanted.clear()
            self._wanted[base] = time.monotonic(), wanted
        return wanted

    def _get(self, path: str) -> Any:
        return self._client.json(path)


def add(first: float, second: float) -> float:
    return first + second


def is_wanted(identity: str) -> bool:
    name = identity.rpartition(".")[2]
    return bool(OWN.fullmatch(name)) or name in ("backPressuredTimeMsPerSecond", "currentInputWatermark")


def checkpoint_of(completed: Any) -> Checkpoint | None:
    if not completed:
        return None
    return Checkpoint(
        completed["latest_ack_timestamp"] / 1000, completed["end_to_end_duration"] / 1000, completed["state_size"]
    )
