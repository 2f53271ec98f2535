"""Retries a call until it succeeds. Only for services without which a job cannot start."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
# The first pause. Where everything starts together, the service is there soon. Each further pause is twice as long.
FIRST_RETRY_SECONDS = 0.5


def patiently(
    ask: Callable[[], T],
    errors: tuple[type[Exception], ...],
    awaited: Callable[[Exception], str],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `ask` until it returns, while it raises one of `errors`, with pauses of at most RETRY_SECONDS.

    awaited: describes an error for the log, which gets one line for each failure.
    """
    pause = FIRST_RETRY_SECONDS
    while True:
        try:
            return ask()
        except errors as error:
            log.warning("waiting for %s; trying again in %g s", awaited(error), pause)
            sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS)
