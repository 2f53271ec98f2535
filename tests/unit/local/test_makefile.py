"""What make prints before it has a virtual environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from local.settings import REPOSITORY


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make demo` in a folder with nothing but what it needs to make its virtual environment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, folder)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--directory", str(folder), "demo", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_help_shows_each_text_whole() -> None:
    """`make help` takes what stands between the target and the next ": " for the text."""
    texts = re.findall(r"^[a-z_-]+:.*## (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert texts
    assert [text for text in texts if ": " in text] == []


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "\u00fc", "$(x)", "a`b"])
def test_a_folder_that_flinks_scripts_do_not_take_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    result = make(folder)
    assert result.returncode == 2
    assert f"error: Flink's scripts do not take the path '{folder}'" in result.stderr
    assert not (folder / ".venv").exists()


def test_another_python_is_refused_with_the_ways_to_the_right_one(tmp_path: Path) -> None:
    other = tmp_path / "python3"
    other.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.13.1"\nexit $(test "$1" = --version; echo $?)\n'
    )
    other.chmod(0o755)
    folder = tmp_path / "clone"
    folder.mkdir()
    for python, found in ((str(other), "is Python 3.13.1"), ("/none", "is /bin/sh: ")):
        result = make(folder, f"PYTHON={python}")
        assert result.returncode == 2
        assert f"error: Python 3.11 is needed, and '{python}' {found}" in result.stderr
        assert "uv python install 3.11" in result.stderr
        assert "make PYTHON=$(uv python find 3.11)" in result.stderr
        assert not (folder / ".venv").exists()
