"""The values for a release's images, and how its state is read."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.release import LIGHT_VALUES, image_settings, is_stable, ready, split_documents, status_line


@pytest.mark.parametrize("between", ["", "---\n", "# a comment\n", "---\n# a comment\n"])
def test_split_documents(between: str) -> None:
    kind = "apiVersion: v1\nspec:\n  apiVersion: {type: string}\n"
    documents = YAML(typ="safe").load_all(split_documents(f"{between}{kind}{between}{kind}"))
    assert [each["apiVersion"] for each in documents if each] == ["v1", "v1"]


def test_nothing_is_split_into_nothing() -> None:
    assert split_documents("") == ""


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
def test_is_stable(status: dict[str, Any], expected: bool) -> None:
    assert is_stable({"status": status}) is expected


def test_a_job_that_does_not_exist_is_not_stable() -> None:
    assert not is_stable(None)
    assert status_line(None) == ""


def test_the_status_line_has_the_error() -> None:
    status = {"jobManagerDeploymentStatus": "ERROR", "jobStatus": {"state": "FAILED"}, "error": "x" * 1000}
    assert status_line({"status": status}).startswith("ERROR, FAILED, xxx")
    assert len(status_line({"status": status})) < 350


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


def test_the_light_values_exist() -> None:
    assert Path(LIGHT_VALUES[1]).is_file()
