"""Renders the plain manifests of `k8s/` from the chart: ``python -m deploy.manifests``."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.chart import copy_without_dependencies
from deploy.cluster import ClusterError, run_program, tools
from deploy.release import JOBS, RELEASE
from images.build import REPOSITORY

FOLDER = REPOSITORY / "k8s"
KUBERNETES = "1.30.0"  # the oldest that the chart takes: what is rendered depends on none newer
HEADER = """\
# Rendered from helm/data-collection with its default values by `make manifests`: change the chart, not this file.
# It needs what the chart installs beside the jobs, as a release named data-collection in the same namespace.
"""


def render(job: str, environment: Mapping[str, str]) -> str:
    """The job's FlinkDeployment as the chart's default values make it. Raises ClusterError."""
    with tempfile.TemporaryDirectory() as folder:
        chart = copy_without_dependencies(Path(folder))
        show = ("--show-only", f"templates/{job}/flinkdeployment.yaml")
        command = ("helm", "template", RELEASE, str(chart), "--kube-version", KUBERNETES, *show)
        return HEADER + run_program(command, environment).removeprefix("---\n")


def main() -> int:
    try:
        for job in JOBS:
            (FOLDER / f"{job}.yaml").write_text(render(job, tools()))
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
