"""The documentation as the tests read it: its files, their tables, headings, links and blocks of commands."""

import re
import textwrap
from pathlib import Path

from local.settings import REPOSITORY
from tests.support.files import repository_files

DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# What begins like the values of a chart is no command.
VALUES = re.compile(r"[\w-]+:\n")


def pages() -> list[Path]:
    return [file for file in repository_files() if file.suffix == ".md"]


def relative(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def headings(text: str) -> list[str]:
    """The headings of a page in their order, without those in blocks of code."""
    return re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: set[str] = set()
    for heading in headings(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = sum(each == name or re.fullmatch(rf"{re.escape(name)}-\d+", each) is not None for each in found)
        found.add(f"{name}-{number}" if number else name)
    return found


def blocks(page: Path) -> list[str]:
    """The indented blocks of a page, without their indentation."""
    text = FENCE.sub("", page.read_text())
    return [textwrap.dedent(block) for block in re.findall(r"(?:^ {4,}\S.*\n)+", text, re.MULTILINE)]


def commands(block: str) -> list[str]:
    """The command lines of a block, without their comments; a line that is continued is one."""
    if VALUES.match(block):
        return []
    lines = re.sub(r" *\\\n *", " ", block).splitlines()
    return [re.sub(r"\s+# .*$", "", line) for line in lines]


def section(text: str, heading: str) -> str:
    """What stands between `## heading` and the next heading of that level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of tables whose first cell begins with code."""
    lines = re.findall(r"^\| (`.+) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\) \| ?", line)] for line in lines]


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)
