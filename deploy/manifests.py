"""Writes what the chart knows of feeds, and renders `k8s/` from the chart: ``python -m deploy.manifests``."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy import feed_schema
from deploy.chart import copy_without_dependencies
from deploy.cluster import ClusterError, env_with_tools, run_program
from deploy.release import JOBS, RELEASE
from images.build import REPOSITORY

FOLDER = REPOSITORY / "k8s"
KUBERNETES = "1.30.0"  # the oldest version that the chart supports, so that the manifests need no newer one
HEADER = """\
# Rendered from helm/data-collection with its default values by `make manifests`: change the chart, not this file.
# It needs what the chart installs beside the jobs, as a release named data-collection in the same namespace.
"""


def render(job: str, environment: Mapping[str, str]) -> str:
    """The job's FlinkDeployment with the chart's default values, as YAML. Raises ClusterError."""
    with tempfile.TemporaryDirectory() as folder:
        chart = copy_without_dependencies(Path(folder))
        show = ("--show-only", f"templates/{job}/flinkdeployment.yaml")
        command = ("helm", "template", RELEASE, str(chart), "--kube-version", KUBERNETES, *show)
        rendered = run_program(command, environment).removeprefix("---\n")
        # kubectl applies these files, not Helm.
        return HEADER + rendered.replace("    app.kubernetes.io/managed-by: Helm\n", "")


def main() -> int:
    feed_schema.write()
    try:
        for job in JOBS:
            (FOLDER / f"{job}.yaml").write_text(render(job, env_with_tools()))
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
