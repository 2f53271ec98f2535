"""`make rejected` on a cluster: the pod in which it runs."""

from types import SimpleNamespace
from typing import cast

import pytest

from deploy import rejected
from deploy.cluster import Cluster
from tests.unit.deploy.test_audit import Kubectl, deployment


def test_it_runs_with_the_collectors_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = Kubectl(deployment())

    def run(command: list[str], **_: object) -> SimpleNamespace:
        (pod,) = kubectl.pods
        assert command[-3:] == ["python", "-m", "jobs.rejected"]
        assert [each["name"] for each in pod["spec"]["volumes"]] == ["tmp", "kafka", "mongodb"]
        # The chart's NetworkPolicies know this label.
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "audit"
        environment = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        assert environment["REPLAY"] == "all"
        assert environment["KAFKA_TOPIC"] == "tweets"
        assert "HOME" not in environment
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr(rejected, "build_and_load_images", lambda _, images: {each.name: "x" for each in images})
    monkeypatch.setattr("subprocess.run", run)
    assert rejected.on_cluster(cast("Cluster", kubectl), {"REPLAY": "all", "SHOW": "", "HOME": "/root"}) == 2
    assert kubectl.pods == []
