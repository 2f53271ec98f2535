"""Jars are fetched once, and a failed download leaves nothing that looks complete."""

import os
from pathlib import Path

import pytest

from local.jars import fetch_jars
from local.process import StackError

FAKE_MAVEN = """#!/bin/sh
for argument in "$@"; do case $argument in -DoutputDirectory=*) folder=${argument#*=};; esac; done
echo run >> "$MAVEN_RUNS"
touch "$folder/a.jar"
if [ -n "$MAVEN_FAILS" ]; then echo '[ERROR] Could not transfer a.jar: checksum'; exit 1; fi
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake Maven, since the real one would fetch from the internet; it counts its runs in a file."""
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(FAKE_MAVEN)
    program.chmod(0o755)
    (tmp_path / "pom.xml").write_text("<project/>")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MAVEN_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_fetched_once_and_again_when_the_pom_changes(tmp_path: Path, runs: Path) -> None:
    pom, folder, log = tmp_path / "pom.xml", tmp_path / "jars" / "x", tmp_path / "log"
    for _ in range(2):
        assert (fetch_jars(pom, folder, log) / "a.jar").is_file()
    assert runs.read_text() == "run\n"
    pom.write_text("<project><!-- changed --></project>")
    fetch_jars(pom, folder, log)
    assert runs.read_text() == "run\nrun\n"


def test_a_failed_download_says_why_and_is_tried_again(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pom, folder, log = tmp_path / "pom.xml", tmp_path / "jars" / "x", tmp_path / "log"
    monkeypatch.setenv("MAVEN_FAILS", "1")
    with pytest.raises(StackError, match=r"could not fetch the jars .*: Could not transfer a\.jar: checksum \(log: "):
        fetch_jars(pom, folder, log)
    assert not folder.exists()
    monkeypatch.delenv("MAVEN_FAILS")
    assert (fetch_jars(pom, folder, log) / "a.jar").is_file()
    assert runs.read_text() == "run\nrun\n"
