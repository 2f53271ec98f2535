"""Paths into JSON values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feeds.paths import PathError, getter, steps_of

VALUE: dict[str, Any] = {
    "a": {"b": {"c": {"d": 1}}, "list": [[2, 3], {"x": 4}], "none": None, "no": False, "zero": 0, "text": "abc"},
    "$type": 5,
    "at-uri": 6,
    "x.y": {"z z": 7},
    "0": 8,
}
FOUND = {
    "a.b.c.d": 1,
    "a.list[0][1]": 3,
    "a.list[1].x": 4,
    "a.no": False,
    "a.zero": 0,
    "$type": 5,
    "at-uri": 6,
    '"x.y"."z z"': 7,
    '"0"': 8,
    "0": 8,
    "a.text": "abc",
}
MISSING = [
    "a.none",
    "a.none.b",
    "b",
    "a.b.c.d.e",
    "a.text.b",
    "a.text[0]",  # a character of a string is no element
    "a[0]",
    "a.list[2]",
    "a.list.0",
    "a.list.x",
    "a.list[0].x",
    "a.zero.b",
    "a.no[0]",
    "[0]",
]
WRONG = [
    "",
    ".",
    ".a",
    "a.",
    "a..b",
    "a b",
    "a[",
    "a[]",
    "a[x]",
    "a[-1]",
    "a[1]b",
    "[1234567]",
    '"a',
    'a"b"',
    '""',
    "é",
]


@pytest.mark.parametrize(("path", "value"), FOUND.items())
def test_found(path: str, value: object) -> None:
    assert getter(path)(VALUE) == value
    assert getter(f"[1].{path}")([0, VALUE]) == value


@pytest.mark.parametrize("path", MISSING)
def test_what_is_missing_is_none(path: str) -> None:
    assert getter(path)(VALUE) is None


@pytest.mark.parametrize("path", WRONG)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        steps_of(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=10,
)


def reached(value: Any, steps: list[str | int]) -> Any:
    """The value at these steps, by a loop."""
    for step in steps:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


@given(JSON, st.lists(st.sampled_from(["a", "b", "c", 0, 1, 2]), min_size=1, max_size=5))
def test_every_path_gives_the_value_or_none(value: Any, steps: list[str | int]) -> None:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    assert steps_of(path) == steps
    found = getter(path)(value)
    assert found is reached(value, steps) or found == reached(value, steps)
