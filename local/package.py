"""Packs the jobs into a zip file, which Flink adds to the PYTHONPATH of its workers: ``python -m local.package``."""

import sys
import zipfile
from pathlib import Path

from images.build import project_version
from local.settings import REPOSITORY

SUFFIXES = {".py", ".sql", ".yaml", ".json"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold; constant, so that equal sources give equal bytes


def package_jobs(target: Path, source: Path = REPOSITORY / "jobs") -> Path:
    """Write the package `jobs` to the zip file `target` and return it; equal sources give equal bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            if path.suffix in SUFFIXES:
                entry = zipfile.ZipInfo(path.relative_to(source.parent).as_posix(), EPOCH)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def main() -> None:
    target = package_jobs(REPOSITORY / "dist" / f"data-collection-jobs-{project_version()}.zip")
    sys.stdout.write(f"{target.relative_to(REPOSITORY)}\n")


if __name__ == "__main__":
    main()
