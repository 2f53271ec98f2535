"""The vendored files are those of the release, see docs/development/dependencies.md."""

import hashlib

from console import page
from tests.unit.docs import pages

# `npm pack uplot@1.6.32`, dist/ and LICENSE.
UPLOT = "1.6.32"
SHA256 = {
    "vendor/LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "vendor/uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "vendor/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def test_the_vendored_files_are_unchanged() -> None:
    found = {name: hashlib.sha256(content).hexdigest() for name, content in page.static_files().items()}
    assert {name: digest for name, digest in found.items() if name.startswith("vendor/")} == SHA256


def test_the_page_of_dependencies_names_the_version() -> None:
    lines = (pages.DOCS / "development" / "dependencies.md").read_text().splitlines()
    (row,) = [line for line in lines if "uPlot" in line]
    assert UPLOT in row
