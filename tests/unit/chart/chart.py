"""The chart as files: its scripts as modules, and the descriptions of its values."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

CHART = Path(__file__).resolve().parents[3] / "helm" / "data-collection"
KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):")


def load_script(name: str) -> ModuleType:
    """A script of the chart as a module. It belongs to no package: it stands beside the templates that run it."""
    spec = importlib.util.spec_from_file_location(name, CHART / "files" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described_values() -> dict[str, str]:
    """The description (`# --`) of each value in values.yaml that has one, by the value's path."""
    return {path: text for path, comment in comments().items() if (text := description(comment))}


def ignored_values() -> set[str]:
    """The paths of the values that helm-docs leaves out: settings of the sub-charts' own."""
    return {path for path, comment in comments().items() if "# @ignored" in comment}


def comments() -> dict[str, list[str]]:
    """The comment lines above each key of values.yaml, by the key's path."""
    found: dict[str, list[str]] = {}
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip())
            continue
        if match := KEY.match(line):
            indent = len(match["indent"])
            parents = [(column, key) for column, key in parents if column < indent] + [(indent, match["key"])]
            found[".".join(key for _, key in parents)] = comment
        comment = []
    return found


def description(comment: list[str]) -> str:
    """The text after `# --`, without a type in brackets, as one line."""
    lines = [line.removeprefix("#").strip() for line in comment]
    starts = [number for number, line in enumerate(lines) if line.startswith("-- ")]
    text = " ".join(lines[starts[0] :]).removeprefix("-- ") if starts else ""
    return re.sub(r"^\(\w+\) ", "", text)
