"""Pure functions that read and build Kubernetes objects. An object is the API's JSON as a mapping."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from simulator.watchdog.policy import Health, Pod

Object = Mapping[str, Any]

COMPONENT = "watchdog"
TERMINAL_PHASES = ("Succeeded", "Failed")
ROLLED_OUT = "NewReplicaSetAvailable"


def is_active(pod: Object) -> bool:
    """Whether the pod is neither finished nor being deleted: after a rollout the old pod can take a while to end."""
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in TERMINAL_PHASES


def read_pod(pod: Object) -> Pod:
    """What `policy` needs of a pod. It is started once all its containers run, at the latest of their starts."""
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    states = [container.get("state", {}) for container in containers]
    starts = [state["running"]["startedAt"] for state in states if "running" in state]
    started = max(map(parse_timestamp, starts)) if starts and len(starts) == len(states) else None
    waiting = [state.get("waiting", {}).get("reason") for state in states]
    return Pod(
        uid=pod["metadata"]["uid"],
        started=started,
        not_ready_since=None if started is None else not_ready_since(status, started),
        crash_looping="CrashLoopBackOff" in waiting,
    )


def not_ready_since(status: Object, started: float) -> float | None:
    """When the pod stopped being Ready, or None when it is Ready. Time before `started` does not count."""
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            if condition["status"] == "True":
                return None
            return max(started, parse_timestamp(condition.get("lastTransitionTime") or "1970-01-01T00:00:00Z"))
    return started


def newest_pod_address(pods: Iterable[Object]) -> tuple[str, str] | None:
    """(uid, IP) of the newest active pod that has an IP, or None."""
    running = [pod for pod in pods if is_active(pod) and pod.get("status", {}).get("podIP")]
    if not running:
        return None
    newest = max(running, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    return newest["metadata"]["uid"], newest["status"]["podIP"]


def read_health(pod: str, answer: object) -> Health | None:
    """The counters in an answer of /healthz; None when the answer has another form."""
    if not isinstance(answer, Mapping):
        return None
    values = [answer.get(name) for name in ("clients", "sent", "newest")]
    clients, sent, newest = (value if type(value) is int else None for value in values)
    if clients is None or sent is None or newest is None:
        return None
    return Health(pod, clients, sent, newest)


def rollout_under_way(deployment: Object) -> bool:
    """True until the rollout is complete or Kubernetes has given up on it. A pod that fails later is not a rollout."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    if spec.get("paused") or status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing":
            return bool(condition["status"] == "True" and condition.get("reason") != ROLLED_OUT)
    return False


def collector_state(collector: Object | None) -> str | None:
    """Flink's name for the state of the job; "not started" before it has one; None when there is no FlinkDeployment."""
    if collector is None:
        return None
    return str(collector.get("status", {}).get("jobStatus", {}).get("state") or "not started")


def config_hash(configmap: Object | None, secret: Object | None = None) -> str:
    """A hash of the data of both. The Secret's uid is the salt, so that its content cannot be guessed from the hash."""
    data = [(each or {}).get("data") for each in (configmap, secret)]
    salt = secret["metadata"]["uid"] if secret else ""
    return hashlib.sha256(json.dumps([data, salt], sort_keys=True).encode()).hexdigest()[:16]


def build_event(deployment: Object, kind: str, reason: str, message: str, now: float) -> Object:
    """A new Event about the Deployment. kind: "Normal" or "Warning"; now: seconds since 1970 UTC."""
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
        "firstTimestamp": format_timestamp(now),
        "lastTimestamp": format_timestamp(now),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }


def format_timestamp(moment: float) -> str:
    """Convert seconds since 1970 UTC to an RFC 3339 timestamp."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(timestamp: str) -> float:
    """Convert an RFC 3339 timestamp of the API to seconds since 1970 UTC."""
    return datetime.fromisoformat(timestamp).timestamp()
