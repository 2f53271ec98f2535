"""From `helm install` to the first document, where Kafka and the operator run already: the time line, and a limit.

.venv/bin/python -m pytest --log-cli-level=INFO tests/e2e/test_start.py    # prints the time line
"""

import logging
import time

import pytest

from deploy.chart import copy_without_dependencies
from deploy.release import RELEASE
from deploy.sql_client import database_uri
from jobs.defaults import COLLECTION, DATABASE
from tests.e2e.conftest import ClusterNamespace
from tests.e2e.release import Release
from tests.e2e.timeline import Step, steps, table

log = logging.getLogger(__name__)
# The aim is 60 s on two cores with nothing else to do.
FIRST_DOCUMENT_SECONDS = 150
# Prints the time at which the collection has its first document, and the end of the document's window.
AWAIT_DOCUMENT = """
import os, sys, time, pymongo
database, collection = sys.argv[1:]
with pymongo.MongoClient(os.environ["MONGODB_URI"], serverSelectionTimeoutMS=60_000) as client:
    found = None
    while not found:
        time.sleep(0.2)
        try:
            found = client[database][collection].find_one()
        except pymongo.errors.OperationFailure:
            pass  # a Job of the chart creates the user, maybe after `--wait` has returned
print(time.time(), found["timestamp"])
"""


def test_the_first_document_comes_in_time(
    namespace_with_stubs: ClusterNamespace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    namespace, chart = namespace_with_stubs, copy_without_dependencies(tmp_path_factory.mktemp("chart"))
    release = Release(namespace, chart, time.time())
    release.upgrade()
    installed = Step("helm install --wait returns", time.time())
    command = (
        "env",
        f"MONGODB_URI={database_uri(namespace.cluster, namespace.name)}",
        "python",
        "-",
        DATABASE,
        COLLECTION,
    )
    output = namespace.cluster.execute("reader", namespace.name, *command, stdin=AWAIT_DOCUMENT, seconds=300)
    document_at, window_end = output.split()
    document = Step(f"first document, of the window that ended at {window_end}", float(document_at))
    release.await_running_and_stable()
    log.info("\n%s", table([installed, document, *steps(release)], release.begun))
    release.helm("uninstall", RELEASE, "--wait")
    assert document.at - release.begun <= FIRST_DOCUMENT_SECONDS
