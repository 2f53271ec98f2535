"""How a release is told about its images, and how its state is read."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.release import PROFILE, image_settings, ready, separated, settled, told


@pytest.mark.parametrize("between", ["", "---\n", "# a comment\n", "---\n# a comment\n"])
def test_separated(between: str) -> None:
    kind = "apiVersion: v1\nspec:\n  apiVersion: {type: string}\n"
    documents = YAML(typ="safe").load_all(separated(f"{between}{kind}{between}{kind}"))
    assert [each["apiVersion"] for each in documents if each] == ["v1", "v1"]


def test_nothing_is_separated_into_nothing() -> None:
    assert separated("") == ""


def test_image_settings() -> None:
    references = {
        "data-collection/flink": "localhost:5000/data-collection/flink:0.1.0-abc",
        "data-collection/other": "x:1",
    }
    assert image_settings(references) == [
        *("--set", "flink.image.repository=localhost:5000/data-collection/flink"),
        *("--set", "flink.image.tag=0.1.0-abc"),
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"jobStatus": {"state": "RUNNING"}, "lifecycleState": "STABLE"}, True),
        ({"jobStatus": {"state": "RUNNING"}, "lifecycleState": "DEPLOYED"}, False),
        ({"jobStatus": {"state": "RECONCILING"}, "lifecycleState": "STABLE"}, False),
        ({}, False),
    ],
)
def test_settled(status: dict[str, Any], expected: bool) -> None:
    assert settled({"status": status}) is expected


def test_a_job_that_is_not_there_is_not_settled() -> None:
    assert not settled(None)
    assert told(None) == ""


def test_told_names_the_error() -> None:
    status = {"jobManagerDeploymentStatus": "ERROR", "jobStatus": {"state": "FAILED"}, "error": "x" * 1000}
    assert told({"status": status}).startswith("ERROR, FAILED, xxx")
    assert len(told({"status": status})) < 350


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("Deployment", {"readyReplicas": 1}, True),
        ("Deployment", {}, False),
        ("StatefulSet", {"readyReplicas": 0}, False),
        ("Job", {"conditions": [{"type": "Complete", "status": "True"}]}, True),
        ("Job", {"conditions": [{"type": "Failed", "status": "True"}]}, False),
        ("Kafka", {"conditions": [{"type": "Ready", "status": "True"}]}, True),
        ("Kafka", {"conditions": [{"type": "Ready", "status": "False"}]}, False),
    ],
)
def test_ready(kind: str, status: dict[str, Any], expected: bool) -> None:
    assert ready({"kind": kind, "spec": {"replicas": 1}, "status": status}) is expected


def test_profile_is_there() -> None:
    assert Path(PROFILE[1]).is_file()
