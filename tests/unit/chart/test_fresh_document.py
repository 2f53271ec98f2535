"""`helm test`: a document that is fresh ends the wait, an old one or an error does not."""

import pytest
from pymongo.errors import AutoReconnect

from tests.unit.chart.chart import load_script

script = load_script("test_fresh_document")
DOCUMENT = {"timestamp": "2026-11-24T08:00:20Z", "content": ["a"]}


def test_the_first_document_is_found_after_nothing_and_an_error() -> None:
    answers = iter([None, AutoReconnect("refused"), DOCUMENT])

    def find() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert script.wait_for(find, "a window", 180, sleep=lambda _: None) == DOCUMENT


def test_the_wait_ends_with_what_was_missing(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 100.0, 181.0])
    assert script.wait_for(lambda: None, "a window", 180, clock=lambda: next(times), sleep=lambda _: None) is None
    assert caplog.records[-1].getMessage() == "error: a window did not come within 180 s: none yet"
