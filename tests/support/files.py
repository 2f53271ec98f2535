"""Lists the repository's files without git: a source archive has no `.git`."""

from fnmatch import fnmatch
from pathlib import Path

from local.settings import REPOSITORY


def repository_files(folder: Path = REPOSITORY) -> list[Path]:
    """Every file in a folder of the repository, except those that .gitignore names."""
    patterns = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split()] + [".git"]
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        names = (path.name, str(path.relative_to(REPOSITORY)))
        if any(fnmatch(name, pattern) for name in names for pattern in patterns):
            continue
        found += repository_files(path) if path.is_dir() and not path.is_symlink() else [path]
    return found
