"""Waits for a document whose window ended after the start of this program: then the whole pipeline works.

Settings: MONGODB_URI_FILE, MONGODB_CA_FILE (optional), MONGODB_DATABASE, MONGODB_COLLECTION, TIMEOUT_SECONDS.
Exit status: 0, or 1 with an error in the log.
"""

import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

PAUSE_SECONDS = 5

log = logging.getLogger("test_fresh_document")
Document = Mapping[str, Any]


def main(environ: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = f"{environ['MONGODB_DATABASE']}.{environ['MONGODB_COLLECTION']}"
    timeout = float(environ["TIMEOUT_SECONDS"])
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    uri = Path(environ["MONGODB_URI_FILE"]).read_text()
    ca_file = environ.get("MONGODB_CA_FILE")
    options: dict[str, Any] = {"tlsCAFile": ca_file} if ca_file else {}
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=5000, **options)
    with client:
        collection = client[environ["MONGODB_DATABASE"]][environ["MONGODB_COLLECTION"]]
        # Strings of this format sort like their times.
        query = {"timestamp": {"$gt": since}}
        document = wait_for(lambda: collection.find_one(query), f"a window in {name} that ends after {since}", timeout)
    if document is None:
        return 1
    log.info("%s: %d posts until %s", name, len(document["content"]), document["timestamp"])
    return 0


def wait_for(
    find: Callable[[], Document | None],
    what: str,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Document | None:
    """The document that `find` returns; None after the timeout. An error of MongoDB counts as no document yet."""
    start = clock()
    while True:
        try:
            document, reason = find(), "none yet"
        except PyMongoError as error:
            document, reason = None, str(error).partition(",")[0]
        seconds = clock() - start
        if document is not None:
            return document
        if seconds > timeout:
            log.error("error: %s did not come within %g s: %s", what, timeout, reason)
            return None
        log.info("%3.0f s, waiting for %s: %s", seconds, what, reason)
        sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
