"""The Helm chart, and a copy of it that needs no dependencies."""

import shutil
from pathlib import Path

from ruamel.yaml import YAML

from images.build import REPOSITORY

CHART = REPOSITORY / "helm" / "data-collection"


def copy_without_dependencies(target: Path) -> Path:
    """Copy the chart into the folder `target`, with an empty chart for each dependency; returns the copy's path.

    Helm refuses to render a chart while a dependency is missing, even a disabled one.
    """
    copy = target / CHART.name
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("charts"), dirs_exist_ok=True)
    for dependency in YAML(typ="safe").load(CHART / "Chart.yaml")["dependencies"]:
        folder = copy / "charts" / dependency["name"]
        folder.mkdir(parents=True, exist_ok=True)
        text = f"apiVersion: v2\nname: {dependency['name']}\nversion: {dependency['version']}\n"
        (folder / "Chart.yaml").write_text(text)
        # Keep the modification time: skaffold watches the files and must not see a change where there is none.
        shutil.copystat(CHART / "Chart.yaml", folder / "Chart.yaml")
    return copy
