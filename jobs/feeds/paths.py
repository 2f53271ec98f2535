"""Paths into JSON values, compiled to functions once. No I/O.

`commit.record.langs[0]`: names joined by dots, indexes in brackets. A subset of JMESPath without expressions.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

Getter = Callable[[Any], Any]
STEP = re.compile(r'(?:^|\.)([A-Za-z0-9_$-]+)|(?:^|\.)"([^"\\]+)"|\[([0-9]{1,6})\]')
ROOT = "$."
MISSING = (KeyError, IndexError, TypeError)


class PathError(ValueError):
    """A path that cannot be parsed. The text names it."""


def steps_of(path: str) -> list[str | int]:
    """The names and indexes of a path. Raises PathError."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        match = STEP.match(path, at)
        if match is None or path.startswith("."):
            raise PathError(f"{path!r} is not a path: character {at + 1} is neither a name after a dot nor an [index]")
        plain, quoted, index = match.groups()
        steps.append(int(index) if index is not None else plain or quoted)
        at = match.end()
    if not steps:
        raise PathError("an empty path")
    return steps


def getter(path: str) -> Getter:
    """A function that returns the value at `path`; None if there is none, or if it is null. Raises PathError."""
    return getter_of(steps_of(path))


def getter_of(steps: Sequence[str | int]) -> Getter:
    """The same for the steps of a path. Nearly all have one to three names, so these have a function without a loop."""
    if all(isinstance(step, str) for step in steps) and len(steps) <= 3:
        return (one_name, two_names, three_names)[len(steps) - 1](*steps)

    def get(value: Any) -> Any:
        for step in steps:
            # An index of a string would give a character.
            if isinstance(value, list) is not isinstance(step, int):
                return None
            try:
                value = value[step]
            except MISSING:
                return None
        return value

    return get


def one_name(name: Any) -> Getter:
    def get(value: Any) -> Any:
        try:
            return value[name]
        except MISSING:
            return None

    return get


def two_names(first: Any, second: Any) -> Getter:
    def get(value: Any) -> Any:
        try:
            return value[first][second]
        except MISSING:
            return None

    return get


def three_names(first: Any, second: Any, third: Any) -> Getter:
    def get(value: Any) -> Any:
        try:
            return value[first][second][third]
        except MISSING:
            return None

    return get
