"""The cause that is found in a stack trace."""

import pytest

from console.failure import root_cause

JAVA = """java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id 127.0.0.1:38083-06 timed out.
\tat org.apache.flink.runtime.jobmaster.JobMaster.notifyHeartbeatTimeout(JobMaster.java:1421)
"""
NESTED = """java.lang.RuntimeException: Failed to close remote bundle
\tat org.apache.flink.streaming.api.runners.python.beam.BeamPythonFunctionRunner.finishBundle(X.java:423)
Caused by: org.apache.kafka.common.errors.TimeoutException: Timeout expired after 60000ms
\t... 14 more
"""
PYTHON = """java.lang.RuntimeException: Failed to close remote bundle
Caused by: java.util.concurrent.ExecutionException: RuntimeException: Error received from SDK harness: Traceback
(most recent call last), shortened
Traceback (most recent call last):
  File "worker.py", line 300, in _execute
    response = task()
pymongo.errors.AutoReconnect: mongodb://me:secret@store:27017/ closed the connection

\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
\t... 8 more
"""


@pytest.mark.parametrize(
    ("trace", "cause"),
    [
        (JAVA, "TimeoutException: Heartbeat of TaskManager with id 127.0.0.1:38083-06 timed out."),
        (NESTED, "TimeoutException: Timeout expired after 60000ms"),
        (PYTHON, "AutoReconnect: mongodb://store:27017/ closed the connection"),
        ("a.b.Killed", "Killed"),
        ("", ""),
    ],
)
def test_the_innermost_cause_is_one_line_without_secrets(trace: str, cause: str) -> None:
    assert root_cause(trace) == cause
