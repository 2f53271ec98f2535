"""What the watchdog reads from Kubernetes objects and from the simulator's answers."""

from typing import Any

import pytest

from simulator.watchdog.policy import Health, Pod
from simulator.watchdog.resources import (
    build_event,
    collector_state,
    config_hash,
    is_active,
    newest_pod_address,
    parse_timestamp,
    read_health,
    read_pod,
    rollout_under_way,
)

STARTED, LATER = "2026-11-24T08:00:00Z", "2026-11-24T08:00:30Z"


def pod(*states: dict[str, Any], ready: str | None = "True", changed: str = LATER, **other: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if ready:
        conditions.append({"type": "Ready", "status": ready, "lastTransitionTime": changed})
    statuses = [{"state": state} for state in states]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": statuses, **other}
    return {"metadata": {"uid": "a", "name": "simulator-a"}, "status": status}


RUNS: dict[str, Any] = {"running": {"startedAt": STARTED}}
RAN_LATER: dict[str, Any] = {"running": {"startedAt": LATER}}
CRASHED: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}
PULLS: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
PODS = {
    "ready": (pod(RUNS), Pod("a", parse_timestamp(STARTED))),
    "not ready": (pod(RUNS, ready="False"), Pod("a", parse_timestamp(STARTED), parse_timestamp(LATER))),
    "not ready since before it was started": (
        pod(RAN_LATER, ready="False", changed=STARTED),
        Pod("a", parse_timestamp(LATER), parse_timestamp(LATER)),
    ),
    "not ready yet": (pod(RUNS, ready=None), Pod("a", parse_timestamp(STARTED), parse_timestamp(STARTED))),
    "being pulled": (pod(PULLS, ready="False"), Pod("a")),
    "crashed": (pod(CRASHED, ready="False"), Pod("a", crash_looping=True)),
    "over": (pod({"terminated": {"exitCode": 1}}, ready="False"), Pod("a")),
    "two containers": (pod(RUNS, RAN_LATER), Pod("a", parse_timestamp(LATER))),
    "two containers, one of which crashed": (pod(RUNS, CRASHED, ready="False"), Pod("a", crash_looping=True)),
    "new": ({"metadata": {"uid": "a"}}, Pod("a")),
}


@pytest.mark.parametrize(("body", "expected"), PODS.values(), ids=PODS)
def test_a_pod(body: dict[str, Any], expected: Pod) -> None:
    assert read_pod(body) == expected


def test_a_pod_that_is_deleted_or_finished_does_not_count() -> None:
    assert is_active(pod(RUNS))
    assert not is_active(pod(RUNS, phase="Failed"))
    assert not is_active(pod(RUNS, phase="Succeeded"))
    assert not is_active({"metadata": {"deletionTimestamp": STARTED}})


def test_the_newest_active_pod_with_an_address_is_probed() -> None:
    pods = [pod(RUNS, podIP=f"10.0.0.{number}") for number in range(3)]
    for number, each in enumerate(pods):
        each["metadata"] |= {"uid": str(number), "creationTimestamp": f"2026-11-24T08:00:0{number}Z"}
    pods.append(pod(PULLS))
    assert newest_pod_address(pods) == ("2", "10.0.0.2")
    pods[2]["metadata"]["deletionTimestamp"] = LATER
    assert newest_pod_address(pods) == ("1", "10.0.0.1")
    assert newest_pod_address([]) is None


@pytest.mark.parametrize(
    "answer",
    [None, [], "ok", {}, {"clients": 1, "sent": 2}, {"clients": True, "sent": 2, "newest": 3}, {"clients": 1.5}],
)
def test_an_answer_of_another_form_is_none(answer: object) -> None:
    assert read_health("a", answer) is None


def test_an_answer() -> None:
    answer = {"status": "ok", "newest": 3, "clients": 1, "sent": 2, "last_send_age_seconds": None}
    assert read_health("a", answer) == Health("a", clients=1, sent=2, newest=3)


def deployment(
    generation: int = 2, observed: int = 2, status: str = "True", reason: str = "NewReplicaSetAvailable", **spec: Any
) -> dict[str, Any]:
    condition = {"type": "Progressing", "status": status, "reason": reason}
    return {
        "metadata": {
            "name": "flow-simulator",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "7",
            "generation": generation,
        },
        "spec": spec,
        "status": {"observedGeneration": observed, "conditions": [{"type": "Available"}, condition]},
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (deployment(), False),
        (deployment(observed=1), True),
        (deployment(reason="ReplicaSetUpdated"), True),
        (deployment(reason="NewReplicaSetCreated"), True),
        (deployment(status="False", reason="ProgressDeadlineExceeded"), False),
        (deployment(paused=True), True),
        ({"metadata": {"generation": 1}}, True),
    ],
)
def test_a_rollout(body: dict[str, Any], expected: bool) -> None:
    assert rollout_under_way(body) is expected


def test_the_state_of_the_collector() -> None:
    assert collector_state(None) is None
    assert collector_state({}) == "not started"
    assert collector_state({"status": {"jobStatus": {"state": "RUNNING"}}}) == "RUNNING"


def test_the_configuration_is_its_data_alone() -> None:
    data = {"SIMULATOR_RATE": "20", "SIMULATOR_SEED": "1"}
    hashed = config_hash({"metadata": {"resourceVersion": "1"}, "data": data})
    assert config_hash({"metadata": {"resourceVersion": "2"}, "data": dict(reversed(data.items()))}) == hashed
    assert config_hash({"data": {**data, "SIMULATOR_SEED": "2"}}) != hashed
    assert config_hash({"data": {"SIMULATOR_RATE": "20"}}) != hashed


def test_a_secret_is_part_of_the_configuration_and_cannot_be_guessed_from_its_hash() -> None:
    def hashed(uid: str, value: str) -> str:
        return config_hash({"data": {}}, {"metadata": {"uid": uid}, "data": {"key": value}})

    assert hashed("u", "a") == hashed("u", "a")
    assert hashed("u", "a") != hashed("u", "b")
    assert hashed("u", "a") != hashed("v", "a")


def test_an_event_is_about_the_deployment() -> None:
    event = build_event(deployment(), "Warning", "SimulatorRestarted", "NotReady: ...", parse_timestamp(STARTED))
    assert event["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "flow-simulator",
        "namespace": "n",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert (event["firstTimestamp"], event["lastTimestamp"]) == (STARTED, STARTED)
