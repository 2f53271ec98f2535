"""Writes docs/reference/feed-definition.md from the schema of feeds and from the presets: `make feed-docs`.

A unit test compares the page with what this module makes.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jobs.feeds.definition import PRESETS, load, schema
from jobs.feeds.guarantee import EXACTLY_ONCE, LOSS_COUNTED, LOSS_TIMED, WITHIN_LOOK_BACK, guarantee
from jobs.feeds.model import CODES

PAGE = Path(__file__).with_name("feed-definition.md")
NAMES = {"string": "text", "object": "mapping", "array": "list", "boolean": "true or false", "integer": "whole number"}
# The parts of the comment at the top of a preset's file.
PARTS = ("Guarantee", "Set", "Source")

INTRODUCTION = """# Feed definition

<!-- `make feed-docs` writes this page from jobs/feeds/schema.json and jobs/feeds/presets/. -->

Each key of a feed's YAML file. [Feeds](../how-to/feeds.md) shows how to write one, and `make check_feed` tests it. An
unknown key or a wrong value is refused with its path and what is allowed.
"""

PATHS = """## Paths

A path names a value in a frame: names joined by dots, and indexes in brackets.

| Path | Value |
|---|---|
| `data.author.name` | the name of the author |
| `langs[0]` | the first language |
| `[2].content` | the content of the third element, where the frame is an array |
| `"user name".id` | a name with other characters than letters, digits, `_`, `-` and `$` stands in double quotes |
| `$.channel` | with `frames.each`: a value of the frame, not of the element; `$.[1]` where the frame is an array |

In YAML, a path that begins with a bracket or a quote stands in quotes. Where a text is wanted, a template can stand:
`{side} {qty} at {price}`. Each path in braces is replaced.
"""

GUARANTEES = {
    EXACTLY_ONCE: ("`resume`, and a `position` that is a number", "no post is lost or twice while the server keeps it"),
    WITHIN_LOOK_BACK: (
        "`resume`, and a `position` that is a time (`unit`)",
        "the same: the client asks from `overlap` seconds before, and drops what comes twice by `post.id`",
    ),
    LOSS_COUNTED: ("a `position` with `dense: true`, and no `resume`", "a missing number is reported as a lost post"),
    LOSS_TIMED: ("anything else", "the seconds without a connection are reported"),
}

EDITOR = """## In an editor

The schema `jobs/feeds/schema.json` gives completion and checks while you type. Editors with the YAML language server,
such as VS Code with its YAML extension, read the schema's path or address from the first line of the file:

```yaml
# yaml-language-server: $schema=../data-collection/jobs/feeds/schema.json
```

A relative path starts at the YAML file.
"""


def page() -> str:
    parts = [
        INTRODUCTION,
        *sections(),
        PATHS,
        conditions(),
        guarantees(),
        codes(),
        presets(),
        EDITOR,
    ]
    return "\n".join(parts)


def sections() -> Iterator[str]:
    """A table for each section, with the keys that are no section first."""
    keys: Mapping[str, Any] = schema()["properties"]
    plain = {name: rules for name, rules in keys.items() if "properties" not in rules}
    yield f"## The file\n\n{schema()['description']}\n\n{table(plain, schema())}"
    for name, rules in keys.items():
        if "properties" in rules:
            yield f"## {name}\n\n{rules['description']}\n\n{table(rules['properties'], rules, f'{name}.')}"


def table(keys: Mapping[str, Any], rules: Mapping[str, Any], prefix: str = "") -> str:
    lines = ["| Key | What it holds | Default | Meaning |", "|---|---|---|---|"]
    for name, of_key in rows(keys, rules, prefix):
        lines.append(f"| `{name}` | {kind(of_key)} | {default(of_key)} | {cell(of_key['description'])} |")
    return "\n".join(lines) + "\n"


def rows(keys: Mapping[str, Any], rules: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, given in keys.items():
        required = name in rules.get("required", ())
        yield f"{prefix}{name}", {**resolved(given), "required": required}
        below = given.get("items", given)
        mark = "[]" if "items" in given else ""
        yield from rows(below.get("properties", {}), below, f"{prefix}{name}{mark}.")


def resolved(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of a key, with those of the definition that it refers to. Its own description wins."""
    reference = rules.get("$ref", "").rpartition("/")[2]
    return {**schema()["$defs"].get(reference, {}), **rules, "reference": reference}


def kind(rules: Mapping[str, Any]) -> str:
    if rules["reference"]:
        return f"[{rules['reference']}](#{rules['reference']}s)"
    if "enum" in rules:
        return " or ".join(f"`{value}`" for value in rules["enum"])
    kinds = rules.get("type", "mapping")
    text = " or ".join(NAMES.get(each, each) for each in ([kinds] if isinstance(kinds, str) else kinds))
    if kinds == "array":
        of = resolved(rules["items"])
        text = f"list of {'conditions' if of['reference'] == 'condition' else f'{NAMES.get(one(of), one(of))}s'}"
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None:
        text += f", {low:g} to {high:g}" if high is not None and high < 1_000_000 else f", at least {low:g}"
    if "pattern" in rules:
        text += f" `{cell(rules['pattern'])}`"
    return text


def one(rules: Mapping[str, Any]) -> str:
    kinds = rules.get("type", "mapping")
    return kinds if isinstance(kinds, str) else "value"


def default(rules: Mapping[str, Any]) -> str:
    if rules["required"]:
        return "required"
    return f"`{json.dumps(rules['default'])}`".replace('"', "") if "default" in rules else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def conditions() -> str:
    rules = schema()["$defs"]["condition"]
    return f"## Conditions\n\n{rules['description']}\n\n{table(rules['properties'], rules)}"


def guarantees() -> str:
    lines = [
        "## Guarantees",
        "",
        "The definition says what a cut costs. `make check_feed`, the log and the topic `tweets.events` name it.",
        "",
    ]
    lines += ["| Guarantee | Needs | Means |", "|---|---|---|"]
    lines += [f"| {name} | {needs} | {means} |" for name, (needs, means) in GUARANTEES.items()]
    return "\n".join(lines) + "\n"


def codes() -> str:
    lines = ["## Codes of rejections", "", "| Code | Meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{code}` | {meaning} |" for code, meaning in CODES.items())]) + "\n"


def presets() -> str:
    """A table, and a section for each preset with the comment at the top of its file."""
    lines = [
        "## Presets",
        "",
        "`FEED=name` reads one. The files are in `jobs/feeds/presets/`. A copy is a good beginning for a definition of",
        "your own.",
        "",
        "| Preset | Guarantee | Feed |",
        "|---|---|---|",
    ]
    parts = []
    for name in PRESETS:
        comment, definition = comment_of(name), load(name)
        lines.append(f"| [`{name}`](#{name}) | {guarantee(definition)} | {cell(comment.pop(''))} |")
        source = f"Its posts have the source `{definition.name}`.\n\n" if definition.name != name else ""
        items = "\n".join(f"- {kind}: {linked(text)}" for kind, text in comment.items())
        parts.append(f"### {name}\n\n{source}{items}\n")
    return "\n".join([*lines, "", *parts])


def comment_of(preset: str) -> dict[str, str]:
    """The comment at the top of a preset's file: each part with its name, and under "" what stands before all parts.

    A part begins with its name and a colon. Its other lines are indented. Any other line is a note.
    """
    text = resources.files("jobs.feeds").joinpath("presets", f"{preset}.yaml").read_text("utf-8")
    lines = [line.removeprefix("#") for line in itertools.takewhile(lambda line: line[:1] == "#", text.splitlines())]
    end = lines.index("")
    found = {"": " ".join(line.strip() for line in lines[:end])}
    name = ""
    for line in lines[end + 1 :]:
        if line.startswith("   "):
            found[name] += f" {line.strip()}"
            continue
        first, colon, rest = line.strip().partition(": ")
        name, rest = (first, rest) if colon and first in PARTS else ("Note", line.strip())
        found[name] = f"{found[name]} {rest}" if name in found else rest
    return found


def linked(text: str) -> str:
    return re.sub(r"https?://[^\s,]+[^\s,.]", lambda found: f"<{found[0]}>", text)


if __name__ == "__main__":
    PAGE.write_text(page())
