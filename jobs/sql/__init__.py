"""Loads the `.sql` files of the jobs and of the SQL client and fills their placeholders. Does not import pyflink."""

from collections.abc import Mapping
from importlib.resources import files
from string import Template


def literal(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def statements(name: str, values: Mapping[str, object]) -> list[str]:
    """The statements of `<name>.sql` with `${placeholders}` filled. Raises KeyError for a placeholder without a value.

    A string becomes a literal, a mapping becomes the options of a table, a list becomes its values with commas between
    them, a number stays as it is.
    """
    filled = {key: fill(value) for key, value in values.items()}
    # Split before the values are filled in: a value may contain the separator.
    parts = without_comments(read(name)).split(";\n")
    return [Template(part).substitute(filled).strip() for part in parts if part.strip()]


def fill(value: object) -> str:
    if isinstance(value, Mapping):
        return ",\n  ".join(f"{literal(name)} = {literal(option)}" for name, option in value.items())
    if isinstance(value, list):
        return ", ".join(map(fill, value))
    return literal(value) if isinstance(value, str) else str(value)


def without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--"))


def read(name: str) -> str:
    return (files(__name__) / f"{name}.sql").read_text()
