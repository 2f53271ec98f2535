"""What the commands for people share: their output, their signals, and no log of Kafka's client."""

import logging
import signal
from collections.abc import Iterable
from typing import Any


def silence_kafka() -> None:
    """Keep kafka-python's log out of the output. It logs each attempt to connect; the errors contain what matters."""
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    logging.getLogger("kafka").propagate = False


def interruptible() -> None:
    """Let SIGINT and SIGTERM end the command. A shell starts background processes with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def write(stream: Any, lines: Iterable[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()
