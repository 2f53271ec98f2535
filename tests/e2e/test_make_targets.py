"""The make targets in the order of the documentation, from `make docker_build` to `make docker_down`."""

import os
import subprocess
import time
from collections.abc import Callable

import pytest

from deploy.cluster import Cluster
from local.settings import REPOSITORY
from tests.e2e.conftest import ClusterNamespace
from tests.support.waiting import await_value

Make = Callable[..., str]


@pytest.fixture
def make() -> Make:
    """Runs targets of the Makefile and returns their output. Fails if they fail."""

    def run(*targets: str, seconds: float = 600, **variables: str) -> str:
        result = subprocess.run(
            ["make", "--silent", *targets],
            cwd=REPOSITORY,
            env={**os.environ, "FLINK_PORT": "1", **variables},  # at this port, no demo runs
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert result.returncode == 0, f"{result.stdout[-1500:]}\n{result.stderr[-1500:]}"
        return result.stdout

    return run


def test_the_make_targets_in_order(namespace: ClusterNamespace, make: Make) -> None:
    assert "building with" in make("docker_build", seconds=1200)
    assert "everything but the jobs is Ready" in make("docker_up")
    assert "dist/data-collection-jobs-" in make("clean", "package", "deploy")
    started = time.time()
    output = make("remote_collection_stream", "remote_aggregation_stream")
    for job in ("collector", "aggregator"):
        assert f"{job} is RUNNING; its Flink UI" in output
        assert f"service/data-collection-{job}-rest" in output

    def documents() -> int:
        shown = make("sql_client", SQL="SELECT COUNT(*) AS documents FROM twitter_table WHERE total_cases_count > 0")
        cells = [line.strip("| ") for line in shown.splitlines() if line.startswith("|")]
        return int(cells[-1])

    await_value(documents, "a document in twitter_table", 180, every=5)
    assert time.time() - started < 300
    assert make("audit").rstrip().endswith("balanced")  # make has also checked that the exit status is 0
    # A second time, the targets change nothing.
    make("docker_up", "remote_collection_stream")
    assert "nothing is left" in make("docker_down")
    assert remaining_namespace(namespace.cluster) == ""


@pytest.mark.usefixtures("namespace")
def test_the_error_without_a_release_names_the_target_to_run(make: Make) -> None:
    with pytest.raises(AssertionError, match="make docker_up"):
        make("remote_collection_stream")


def remaining_namespace(cluster: Cluster) -> str:
    return cluster.run("get", "namespace", "data-collection", "--ignore-not-found", "-o", "name")
