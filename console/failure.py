"""Finds the cause in a stack trace of Flink. No I/O."""

import re

from jobs.redaction import redact_text

CAUSED_BY = "Caused by: "
TRACEBACK = "Traceback (most recent call last):"
# A name of a package before the name of a class, as in `java.util.concurrent.`.
PACKAGE = re.compile(r"^(?:[a-z_][\w$]*\.)+(?=[A-Z])")


def root_cause(trace: str) -> str:
    """The innermost cause as one line without secrets: the name of the error without its package, and its message.

    The error of a Python worker is the last line of its traceback, which Flink puts into a Java error.
    """
    cause = trace.rpartition(CAUSED_BY)[2]
    if TRACEBACK in trace:
        lines = trace.rpartition(TRACEBACK)[2].splitlines()
        cause = next((line for line in lines if line and not line[0].isspace()), cause)
    first = cause.strip().partition("\n")[0]
    return redact_text(PACKAGE.sub("", first), "")
