"""Waits for a condition with a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def await_value(read: Callable[[], T | None], what: str, seconds: float, every: float = 0.2) -> T:
    """Call `read` until it returns a truthy value, and return that value. Fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(every)
    return value
