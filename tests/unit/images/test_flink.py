"""The packages that Flink asks for and no job loads: no lock file has them, and all imports work without them."""

import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from images.build import REPOSITORY

EXCLUDED: list[str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["uv"]["exclude-dependencies"]
# What a job's submission, a Python worker and the warm-up of its process import.
MODULES = (
    "pyflink.table",
    "pyflink.datastream",
    "pyflink.fn_execution.beam.beam_boot",
    "pyflink.fn_execution.beam.beam_sdk_worker_main",
    "pyflink.fn_execution.beam.beam_operations_fast",
    "pyflink.fn_execution.datastream.process.operations",
    "pyflink.fn_execution.table.operations",
)


@pytest.mark.parametrize("file", ["requirements.lock", "images/flink/requirements.txt"])
def test_no_lock_file_has_an_excluded_package(file: str) -> None:
    names = {line.partition("==")[0] for line in (REPOSITORY / file).read_text().splitlines() if "==" in line}
    assert {"apache-beam", "numpy"} <= names
    assert not names.intersection(EXCLUDED)


@pytest.mark.skipif(
    any(each.name in EXCLUDED for each in metadata.distributions()),
    reason="these packages are older than requirements.lock: run `touch requirements.lock && make .venv/ready`",
)
def test_flinks_modules_import_without_the_excluded_packages() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {', '.join(MODULES)}"], check=True, timeout=60)
