"""Texts with placeholders: `{path}` in a post's id and text, `${position}` and `${file:/path}` in requests. No I/O."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jobs.feeds.paths import PathError

PART = re.compile(r"\{([^{}]+)\}")
PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
FILE = "file:"


def parts_of(template: str) -> list[tuple[str, str | None]]:
    """(text, path) pairs: each text with the path behind it; None at the end. Raises PathError for unpaired braces."""
    pieces = PART.split(template)
    texts, paths = pieces[::2], [*pieces[1::2], None]
    if any("{" in text or "}" in text for text in texts):
        raise PathError(f"{template!r} has a brace without its pair")
    return list(zip(texts, paths, strict=True))


def is_template(text: str) -> bool:
    return "{" in text or "}" in text


def placeholders(text: str) -> list[str]:
    return PLACEHOLDER.findall(text)


def files_in(value: Any) -> list[str]:
    """The files that `${file:...}` names in the texts of a mapping, a list or a text, each once, in order."""
    texts = [value] if isinstance(value, str) else []
    if isinstance(value, Mapping):
        value = list(value.values())
    found = [name for each in value for name in files_in(each)] if isinstance(value, list) else []
    found += [each.removeprefix(FILE) for text in texts for each in placeholders(text) if each.startswith(FILE)]
    return list(dict.fromkeys(found))


def fill(text: str, values: Mapping[str, str], read: Callable[[str], str]) -> str:
    """The text with its placeholders replaced. read: returns the content of the file at a path."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        return read(name.removeprefix(FILE)) if name.startswith(FILE) else values[name]

    return PLACEHOLDER.sub(replace, text)
