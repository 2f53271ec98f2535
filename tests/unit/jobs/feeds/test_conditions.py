"""The conditions on frames and on elements."""

from typing import Any

import pytest

from jobs.feeds import conditions

VALUE = {"type": "post", "n": 1, "yes": True, "f": 1.5, "list": ["a"], "none": None, "empty": "", "zero": 0}
MET: list[dict[str, Any]] = [
    {"path": "type"},
    {"path": "empty"},
    {"path": "zero"},
    {"path": "list"},
    {"path": "type", "equals": "post"},
    {"path": "n", "equals": 1},
    {"path": "yes", "equals": True},
    {"path": "f", "equals": 1.5},
    {"path": "list[0]", "equals": "a"},
    {"path": "type", "in": ["like", "post"]},
    {"path": "n", "in": ["1", 1]},
    {"path": "yes", "in": [False, True]},
    {"path": "type", "contains": "os"},
    {"path": "type", "contains": "post"},
]
UNMET: list[dict[str, Any]] = [
    {"path": "none"},
    {"path": "other"},
    {"path": "type.other"},
    {"path": "type", "equals": "Post"},
    {"path": "n", "equals": True},  # in Python it is 1
    {"path": "n", "equals": "1"},
    {"path": "yes", "equals": 1},
    {"path": "yes", "in": [1, "true"]},
    {"path": "zero", "in": [False, "0"]},
    {"path": "list", "equals": "a"},
    {"path": "list", "in": ["a", "b"]},
    {"path": "list", "contains": "a"},
    {"path": "other", "in": ["a", "b"]},
    {"path": "n", "contains": "1"},
    {"path": "type", "contains": "Post"},
]


@pytest.mark.parametrize("condition", MET, ids=str)
def test_met(condition: dict[str, Any]) -> None:
    assert conditions.test_of(condition)(VALUE)


@pytest.mark.parametrize("condition", UNMET, ids=str)
@pytest.mark.parametrize("value", [VALUE, {}, [], [VALUE]], ids=["a mapping", "nothing", "a list", "within a list"])
def test_not_met(condition: dict[str, Any], value: object) -> None:
    assert not conditions.test_of(condition)(value)


def test_a_condition_on_a_raw_frame() -> None:
    text = conditions.raw_test_of({"frame": "pong \u00e9"})
    assert [text(frame) for frame in ("pong \u00e9".encode(), b"pong", b'"pong"', b"\xff")] == [
        True,
        False,
        False,
        False,
    ]
    path = conditions.raw_test_of({"path": "type", "equals": "pong"})
    frames = [b'{"type": "pong"}', b'{"type": "ping"}', b"pong", b"", b"\xff", b"[" * 100_000]
    assert [path(frame) for frame in frames] == [True, False, False, False, False, False]
