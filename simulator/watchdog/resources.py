"""What Kubernetes' objects say, as pure functions: objects are the API's JSON."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from simulator.watchdog.policy import Health, Pod

Object = Mapping[str, Any]

COMPONENT = "watchdog"
ENDED = ("Succeeded", "Failed")
ROLLED_OUT = "NewReplicaSetAvailable"


def stays(pod: Object) -> bool:
    """Whether it is neither over nor being deleted: after a rollout the old pod may need a while to go."""
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in ENDED


def read_pod(pod: Object) -> Pod:
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    states = [container.get("state", {}) for container in containers]
    begins = [state["running"]["startedAt"] for state in states if "running" in state]
    started = max(map(seconds, begins)) if begins and len(begins) == len(states) else None
    waiting = [state.get("waiting", {}).get("reason") for state in states]
    return Pod(
        uid=pod["metadata"]["uid"],
        started=started,
        not_ready_since=None if started is None else not_ready_since(status, started),
        crash_looping="CrashLoopBackOff" in waiting,
    )


def not_ready_since(status: Object, started: float) -> float | None:
    """None when it is Ready. Before its container was started it could not be."""
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            if condition["status"] == "True":
                return None
            return max(started, seconds(condition.get("lastTransitionTime") or "1970-01-01T00:00:00Z"))
    return started


def address(pods: Iterable[Object]) -> tuple[str, str] | None:
    """uid and IP of the newest pod that runs."""
    running = [pod for pod in pods if stays(pod) and pod.get("status", {}).get("podIP")]
    if not running:
        return None
    newest = max(running, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    return newest["metadata"]["uid"], newest["status"]["podIP"]


def read_health(pod: str, answer: object) -> Health | None:
    """The answer of /healthz; None for what is none."""
    if not isinstance(answer, Mapping):
        return None
    values = [answer.get(name) for name in ("clients", "sent", "newest")]
    clients, sent, newest = (value if type(value) is int else None for value in values)
    if clients is None or sent is None or newest is None:
        return None
    return Health(pod, clients, sent, newest)


def rollout_under_way(deployment: Object) -> bool:
    """Until its pods are there, or Kubernetes has given up on it; a pod that fails later is no rollout."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    if spec.get("paused") or status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing":
            return bool(condition["status"] == "True" and condition.get("reason") != ROLLED_OUT)
    return False


def collector_state(collector: Object | None) -> str | None:
    """The state of the job, as Flink names it; None when there is no collector."""
    if collector is None:
        return None
    return str(collector.get("status", {}).get("jobStatus", {}).get("state") or "not started")


def config_hash(configmap: Object | None, secret: Object | None = None) -> str:
    """A hash of the data. A Secret's is salted with its uid, so that its content cannot be guessed from the hash."""
    data = [(each or {}).get("data") for each in (configmap, secret)]
    salt = secret["metadata"]["uid"] if secret else ""
    return hashlib.sha256(json.dumps([data, salt], sort_keys=True).encode()).hexdigest()[:16]


def event_of(deployment: Object, kind: str, reason: str, message: str, now: float) -> Object:
    """A new Event about the Deployment. kind: Normal or Warning."""
    metadata = deployment["metadata"]
    about = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}-"},
        "involvedObject": {"apiVersion": "apps/v1", "kind": "Deployment", **about},
        "type": kind,
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": timestamp_of(now),
        "lastTimestamp": timestamp_of(now),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }


def timestamp_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(timestamp: str) -> float:
    """A timestamp of the API in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()
