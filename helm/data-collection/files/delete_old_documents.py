"""Deletes the documents whose window ended more than RETENTION_DAYS days ago. Other documents do not change.

Settings: MONGODB_URI_FILE (a file with the address), MONGODB_CA_FILE (PEM: the server's CA, optional),
MONGODB_DATABASE, MONGODB_COLLECTION, RETENTION_DAYS (an integer from 1). Exit status: 0, or 1 with an error in the log.
"""

import datetime
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

TIMEOUT_MS = 15_000

log = logging.getLogger("delete_old_documents")


def main(
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    connect: Callable[..., Any] = MongoClient,
) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = f"{environ['MONGODB_DATABASE']}.{environ['MONGODB_COLLECTION']}"
    before = cut_off(now(), int(environ["RETENTION_DAYS"]))
    uri = Path(environ["MONGODB_URI_FILE"]).read_text().rstrip("\n")
    ca_file = environ.get("MONGODB_CA_FILE")
    options = {"tlsCAFile": ca_file} if ca_file else {}
    try:
        with connect(uri, serverSelectionTimeoutMS=TIMEOUT_MS, **options) as client:
            collection = client[environ["MONGODB_DATABASE"]][environ["MONGODB_COLLECTION"]]
            # The aggregator creates the same index. Without it each run would read all documents.
            collection.create_index("timestamp")
            count = collection.delete_many({"timestamp": {"$lt": before}}).deleted_count
    except OperationFailure as error:
        log.error("error: MongoDB refuses: %s", (error.details or {}).get("errmsg", type(error).__name__))
        return 1
    except (PyMongoError, ValueError) as error:
        # The driver's messages may contain parts of the address, and the address may contain a password.
        log.error("error: no MongoDB answers at the address in MONGODB_URI_FILE: %s", type(error).__name__)
        return 1
    log.info("%s: %d documents of windows that ended before %s deleted", name, count, before)
    return 0


def cut_off(now: datetime.datetime, days: int) -> str:
    """The time `days` * 24 hours before `now`, in the format of a document's `timestamp`: ISO 8601, UTC, whole seconds.

    now: with a time zone. Raises ValueError for less than one day. Strings of this format sort like their times.
    """
    if days < 1:
        raise ValueError(f"RETENTION_DAYS={days}: expected an integer from 1")
    moment = now.astimezone(datetime.UTC) - datetime.timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
