"""Sources are read each in its thread; news is what differs."""

import contextlib
import itertools
import time
from collections.abc import Iterator

from console.poller import Poller
from tests.support.waiting import await_value


class Counted:
    """Answers with the next of `values`, and then with the last one. An error is raised."""

    def __init__(self, *values: object) -> None:
        self._values: Iterator[object] = itertools.chain(values, itertools.repeat(values[-1]))
        self.reads = 0

    def read(self) -> object:
        self.reads += 1
        value = next(self._values)
        if isinstance(value, Exception):
            raise value
        return value


@contextlib.contextmanager
def running(poller: Poller) -> Iterator[None]:
    poller.start()
    try:
        yield
    finally:
        poller.stop()


def test_only_what_differs_is_news() -> None:
    source = Counted(1, 1, 2, OSError(), OSError(), 2)
    poller = Poller({"a": source}, interval=0.001)
    poller.look()
    with running(poller):
        await_value(lambda: source.reads > 20, "twenty readings", 10)
        assert poller.version == 4
        assert (poller.answers()["a"].value, poller.answers()["a"].error) == (2, "")


def test_a_source_may_have_an_interval_of_its_own() -> None:
    often, seldom = Counted(1), Counted(1)
    poller = Poller({"often": often, "seldom": seldom}, interval=0.001, intervals={"seldom": 60})
    poller.look()
    with running(poller):
        await_value(lambda: often.reads > 20, "twenty readings", 10)
        assert seldom.reads == 1


def test_while_nobody_looks_a_source_is_read_seldom() -> None:
    source = Counted(1)
    poller = Poller({"a": source}, interval=0.001, unseen=60)
    with running(poller):
        await_value(lambda: source.reads == 1, "the first reading", 10)
        time.sleep(0.2)  # nothing can be awaited: in this time, it would be read more than a hundred times
        assert source.reads == 1
        poller.look()
        await_value(lambda: source.reads > 20, "twenty readings", 10)


def test_while_nobody_looks_a_source_is_read_all_the_same() -> None:
    source = Counted(1)
    poller = Poller({"a": source}, interval=0.001, unseen=0.01)
    with running(poller):
        await_value(lambda: source.reads > 5, "five readings", 10)
