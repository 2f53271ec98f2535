"""The linters of the chart and of the workflows. `python -m tests.e2e` builds their programs."""

import shutil
from pathlib import Path

import pytest

from deploy.chart import CHART, copy_without_dependencies
from deploy.cluster import env_with_tools, run_program
from images.build import REPOSITORY

VALUES = [CHART / name for name in ("values.yaml", "values-light.yaml", "values-production.yaml")]


@pytest.mark.parametrize("helm", ["helm", "helm4"])
@pytest.mark.parametrize("values", [*VALUES, *sorted((CHART / "ci").glob("*.yaml"))], ids=lambda path: path.stem)
def test_helm_lint_passes(helm: str, values: Path, tmp_path: Path) -> None:
    chart = copy_without_dependencies(tmp_path)
    run_program((helm, "lint", str(chart), "--values", str(values), "--strict", "--quiet"), env_with_tools())


def test_the_charts_readme_is_what_helm_docs_writes(tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "helm" / CHART.name, ignore=shutil.ignore_patterns("charts"))
    options = ("--sort-values-order", "file", "--log-level", "warning")
    run_program(("helm-docs", "--chart-search-root", str(tmp_path / "helm"), *options), env_with_tools())
    assert (copy / "README.md").read_text() == (CHART / "README.md").read_text(), "run make chart-docs"


def test_actionlint_passes(tmp_path: Path) -> None:
    found = sorted(str(path) for path in (REPOSITORY / ".github" / "workflows").glob("*.yaml"))
    assert found
    run_program(("actionlint", "-color=false", *found), {**env_with_tools(), "HOME": str(tmp_path)})
