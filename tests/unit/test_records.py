"""The pattern by which the aggregator spares a record its second parsing."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.records import PLAIN_POST

POST = {"id": "simulator-1a2b3c4d-1", "text": "a post", "timestamp": 1, "source": "simulator", "position": "1a2b3c4d/1"}


def as_line(record: object) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def is_plain(line: str) -> bool:
    return re.search(PLAIN_POST, line) is not None


@pytest.mark.parametrize("changes", [{}, {"stamp": 1767225602100}, {"text": "привет 🌍", "timestamp": 0}])
def test_a_post_of_the_collector_is_plain(changes: dict[str, object]) -> None:
    assert is_plain(as_line(POST | changes))


@given(st.text(max_size=20), st.sampled_from(["id", "text", "source", "position"]), st.text(max_size=3))
@example('"', "text", "")
@example("\\", "text", "")
@example("\n", "id", "")
@example("", "id", "\u2028")
@example("", "id", "\n")
@example("", "id", "{}")
def test_what_is_plain_is_one_json_object(text: str, name: str, behind: str) -> None:
    # The text as it is, so that it may break out of its string.
    line = as_line(POST | {name: "@"}).replace("@", text) + behind
    if is_plain(line):
        assert json.loads(line) == POST | {name: text}


@pytest.mark.parametrize("text", ["y\ufffd", "a\\", 'a"'])
def test_what_needs_a_closer_look_is_not_plain(text: str) -> None:
    assert not is_plain(as_line(POST).replace("a post", text))
