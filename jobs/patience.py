"""Retries a call until it succeeds. Only for services without which a job cannot start."""

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
    """Call `ask` until it returns, every RETRY_SECONDS, while it raises one of `errors`.

    awaited: describes an error for the log, which gets one line for each failure.
    """
    while True:
        try:
            return ask()
        except errors as error:
            log.warning("waiting for %s; trying again in %g s", awaited(error), RETRY_SECONDS)
            sleep(RETRY_SECONDS)
