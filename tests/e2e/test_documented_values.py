"""Helm renders the chart with what each block of the documentation sets. The blocks themselves need a cluster."""

import itertools
import shlex
from pathlib import Path

import pytest

from deploy.chart import copy_without_dependencies
from deploy.cluster import env_with_tools, run_program
from local.settings import REPOSITORY
from tests.unit.docs import pages

OPTIONS = {"--set", "--values"}


def options(block: str, folder: Path) -> list[str]:
    """Helm's options for the values of a block. What it gives as YAML is written to a file in the folder."""
    if pages.VALUES.match(block):
        file = folder / "values.yaml"
        file.write_text(block)
        return ["--values", str(file)]
    words = [word for command in pages.commands(block) for word in shlex.split(command)]
    given = [pair for pair in itertools.pairwise(words) if pair[0] in OPTIONS]
    return [
        word for name, value in given for word in (name, file_of(value, block, folder) if name == "--values" else value)
    ]


def file_of(value: str, block: str, folder: Path) -> str:
    """The file of the repository; or one without values, where the block itself writes the user's values."""
    if f"> {value}" not in block:
        return str(REPOSITORY / value)
    file = folder / value
    file.write_text("{}\n")
    return str(file)


BLOCKS = [
    pytest.param(block, id=f"{pages.relative(page)}-{number}")
    for page in pages.pages()
    for number, block in enumerate(pages.blocks(page))
    if pages.VALUES.match(block) or OPTIONS & set(block.split())
]


@pytest.mark.parametrize("block", BLOCKS)
def test_helm_renders_the_chart_with_what_a_block_sets(block: str, tmp_path: Path) -> None:
    chart = copy_without_dependencies(tmp_path)
    release = ("demo", str(chart), "--namespace", "data-collection", "--kube-version", "1.30.0")
    given = options(block, tmp_path)
    assert given
    assert "kind: Deployment" in run_program(("helm", "template", *release, *given), env_with_tools())
