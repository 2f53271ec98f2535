"""Fixtures of the jobs' unit tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.examples import examples
from tests.unit.jobs.reader_lab import READER, Lab

# A test case takes as long as a busy machine needs for it.
settings.register_profile("examples", deadline=None, max_examples=examples(100))
settings.load_profile("examples")


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(f"{READER}.PING_SECONDS", 0.02)  # also the time until the end of a connection is noticed
    laboratory = Lab()
    yield laboratory
    laboratory.close()
