"""The Helm chart as something to install: with its dependencies, or with empty charts in their place."""

import shutil
from pathlib import Path

from ruamel.yaml import YAML

from images.build import REPOSITORY

CHART = REPOSITORY / "helm" / "data-collection"


def copy_without_dependencies(target: Path) -> Path:
    """A copy of the chart in the folder `target`, with an empty chart for each dependency, and its path.

    Helm renders no chart whose dependencies are not beside it, not even when they are switched off.
    """
    copy = target / CHART.name
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("charts"), dirs_exist_ok=True)
    for dependency in YAML(typ="safe").load(CHART / "Chart.yaml")["dependencies"]:
        folder = copy / "charts" / dependency["name"]
        folder.mkdir(parents=True, exist_ok=True)
        text = f"apiVersion: v2\nname: {dependency['name']}\nversion: {dependency['version']}\n"
        (folder / "Chart.yaml").write_text(text)
        # Each copy is as old as the chart: who watches it sees no change where there is none.
        shutil.copystat(CHART / "Chart.yaml", folder / "Chart.yaml")
    return copy
