"""Asks a service again and again until it answers. Only for what a job cannot begin without."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0


def patiently(
    ask: Callable[[], T],
    errors: tuple[type[Exception], ...],
    awaited: Callable[[Exception], str],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `ask` returns, however often it raises one of `errors` before; each time the log says what is awaited."""
    while True:
        try:
            return ask()
        except errors as error:
            log.warning("waiting for %s; trying again in %g s", awaited(error), RETRY_SECONDS)
            sleep(RETRY_SECONDS)
