"""The audit of a release: the pod in which it runs, and what it returns."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy import audit
from deploy.cluster import Cluster, Object
from deploy.release import RELEASE


def deployment() -> Object:
    """The parts of the aggregator's FlinkDeployment that matter."""
    env = [
        {"name": "KAFKA_TOPIC", "value": "tweets"},
        {"name": "MONGODB_URI_FILE", "value": "/etc/mongodb-client/uri"},
    ]
    main = {
        "name": "flink-main-container",
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in VOLUMES],
    }
    template = {
        "securityContext": {"runAsUser": 9999, "fsGroup": 9999},
        "containers": [main],
        "volumes": [{"name": name} for name in VOLUMES],
        "serviceAccountName": "data-collection-flink",
    }
    job_manager = {"podTemplate": {"spec": {"containers": [{"name": "flink-main-container", "env": env}]}}}
    return {"spec": {"podTemplate": {"spec": template}, "jobManager": job_manager}}


VOLUMES = ("tmp", "state", "kafka", "mongodb")


def test_the_pod_has_the_aggregators_settings_and_files() -> None:
    pod = audit.job_pod(
        "audit", deployment(), "registry/flink:1", {"AUDIT_WAIT_SECONDS": "5", "KAFKA_TOPIC": "other"}, audit.VOLUMES
    )
    (container,) = pod["spec"]["containers"]
    assert [each["name"] for each in pod["spec"]["volumes"]] == ["tmp", "kafka", "mongodb"]
    assert [each["name"] for each in container["volumeMounts"]] == ["tmp", "kafka", "mongodb"]
    assert {each["name"]: each.get("value") for each in container["env"]} == {
        "MONGODB_URI_FILE": "/etc/mongodb-client/uri",
        "AUDIT_WAIT_SECONDS": "5",
        "KAFKA_TOPIC": "other",
    }
    assert pod["spec"]["securityContext"]["fsGroup"] == 9999
    assert "serviceAccountName" not in pod["spec"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "audit"


@dataclass
class Kubectl:
    """A cluster with the release. found: the aggregator's FlinkDeployment in it."""

    found: Object | None
    values: Object = field(default_factory=lambda: {"mongodb": {}, "collector": {"settings": {}}})
    target: Any = field(default_factory=lambda: SimpleNamespace(context="here"))
    environment: dict[str, str] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)

    def run(self, *arguments: str) -> str:
        version = {"serverVersion": {"gitVersion": "v1.34.0"}}
        return json.dumps(version) if arguments[0] == "version" else "flinkdeployments.flink.apache.org"

    def get(self, kind: str, *_: str) -> Object | None:
        return self.found if kind == "flinkdeployment" else next(iter(self.pods), None)

    def program(self, *command: str, **_: float) -> str:
        self.programs.append(" ".join(command[:2]))
        if command[1] == "get" and "--all" in command:
            return json.dumps(self.values)
        if command[1] == "get":
            return "null\n"
        return f"---\n# Source: x\n{json.dumps(deployment())}\n" if command[1] == "template" else RELEASE

    def apply(self, objects: list[Object], _: str) -> None:
        assert not self.pods, "a pod of an earlier run is still there"
        self.pods += objects

    def await_condition(self, *_: object) -> None: ...

    def remove_now(self, *_: str) -> None:
        self.pods.clear()


@pytest.mark.parametrize(("mongodb", "days"), [({}, 0), ({"retentionDays": 0}, 0), ({"retentionDays": 30}, 30)])
def test_the_age_is_the_releases(mongodb: dict[str, int], days: int) -> None:
    assert audit.retention_days({"mongodb": mongodb}) == days


DEFINITION = {"name": "mine", "post": {"text": "text"}}


@pytest.mark.parametrize(
    ("collector", "feed"),
    [
        ({"settings": {}}, "simulator"),  # of an earlier chart
        ({"settings": {}, "feed": None}, "simulator"),
        ({"settings": {"FEED": "text"}, "feed": None}, "text"),
        ({"settings": {}, "feed": "jetstream-v1"}, "jetstream-v1"),
        ({"settings": {}, "feed": DEFINITION}, "/etc/feed-client/feed.yaml"),
    ],
)
def test_the_feed_is_the_collectors(collector: Object, feed: str) -> None:
    pod = audit.job_pod("audit", deployment(), "registry/flink:1", {}, audit.VOLUMES)
    audit.add_feed(pod, collector)
    (container,) = pod["spec"]["containers"]
    assert {"name": "FEED", "value": feed} in container["env"]
    volume = {"name": "feed", "configMap": {"name": "data-collection-collector"}}
    mount = {"name": "feed", "mountPath": "/etc/feed-client", "readOnly": True}
    is_file = feed.startswith("/")
    assert ((volume in pod["spec"]["volumes"]), (mount in container["volumeMounts"])) == (is_file, is_file)


@pytest.mark.parametrize("found", [True, False])
def test_on_a_cluster_its_status_is_the_pods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: bool) -> None:
    kubectl = Kubectl(
        deployment() if found else None, {"mongodb": {"retentionDays": 30}, "collector": {"settings": {}}}
    )
    kubectl.pods.append({"of": "an interrupted run"})
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        (pod,) = kubectl.pods
        assert pod["metadata"]["name"] == "audit"
        assert {"name": "MONGODB_RETENTION_DAYS", "value": "30"} in pod["spec"]["containers"][0]["env"]
        ran.append(command)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(audit, "build_and_load_images", lambda _, images: {each.name: "x" for each in images})
    monkeypatch.setattr(audit, "WORK", tmp_path)
    monkeypatch.setattr("subprocess.run", run)
    assert audit.on_cluster(cast("Cluster", kubectl), {}) == 1
    assert ran[0][:4] == ["kubectl", "--context", "here", "exec"]
    assert kubectl.pods == []
    assert ("helm template" in kubectl.programs) is not found
