"""The zip of the jobs that Flink puts on the PYTHONPATH of its Python processes."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local.package import package_jobs

JOBS = Path(__file__).parents[3] / "jobs"
SOURCES = sorted(path for suffix in ("py", "sql", "yaml", "json") for path in JOBS.rglob(f"*.{suffix}"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sources with what else lies about in a working tree; the copying changes all times."""
    folder = tmp_path / "copy" / "jobs"
    for path in reversed(SOURCES):
        target = folder / path.relative_to(JOBS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (1_000_000_000, 1_000_000_000))
        target.chmod(0o600)
    (folder / "__pycache__").mkdir()
    for name in ("__pycache__/names.cpython-311.pyc", "pom.xml", ".env", "defaults.py.orig"):
        (folder / name).write_text("no source")
    return folder


def test_equal_sources_give_equal_bytes(tmp_path: Path, source: Path) -> None:
    first, second = package_jobs(tmp_path / "a.zip"), package_jobs(tmp_path / "b.zip", source)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["defaults.py", "sql/aggregator.sql", "feeds/schema.json", "feeds/presets/text.yaml"])
def test_another_source_gives_other_bytes(tmp_path: Path, source: Path, name: str) -> None:
    before = package_jobs(tmp_path / "a.zip", source).read_bytes()
    (source / name).write_text("-- changed")
    assert package_jobs(tmp_path / "a.zip", source).read_bytes() != before


def test_the_zip_holds_the_sources_and_nothing_else(tmp_path: Path, source: Path) -> None:
    with zipfile.ZipFile(package_jobs(tmp_path / "a.zip", source)) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
        assert all(entry.external_attr >> 16 & 0o444 == 0o444 for entry in archive.infolist())
    assert contents == {f"jobs/{path.relative_to(JOBS).as_posix()}": path.read_bytes() for path in SOURCES}
    assert {"jobs/__init__.py", "jobs/sql/__init__.py", "jobs/sql/aggregator.sql"} <= contents.keys()


def test_it_makes_the_folder_and_replaces_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "jobs.zip"
    assert package_jobs(target) == target
    size = target.stat().st_size
    target.write_bytes(b"x" * 10_000_000)
    package_jobs(target)
    assert target.stat().st_size == size


def test_python_imports_the_jobs_from_the_zip(tmp_path: Path) -> None:
    archive = package_jobs(tmp_path / "jobs.zip")
    program = "import jobs.sql; print(jobs.sql.__file__); print(jobs.sql.read('aggregator'), end='')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        check=True,
    )
    origin, _, text = done.stdout.partition("\n")
    assert Path(origin) == archive / "jobs" / "sql" / "__init__.py"
    assert text == (JOBS / "sql" / "aggregator.sql").read_text()
