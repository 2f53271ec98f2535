"""Deletes the documents whose window ended more than a number of days ago; the other documents stay as they are.

Settings: MONGODB_URI_FILE (a file with the address), MONGODB_CA_FILE (PEM of who signs the server's certificate,
optional), MONGODB_DATABASE, MONGODB_COLLECTION, RETENTION_DAYS (a whole number from 1). Exit status: 0, or 1 with a
reason.
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
            # The aggregator makes the same index. Without one each run would read all documents.
            collection.create_index("timestamp")
            count = collection.delete_many({"timestamp": {"$lt": before}}).deleted_count
    except OperationFailure as error:
        log.error("error: MongoDB refuses: %s", (error.details or {}).get("errmsg", type(error).__name__))
        return 1
    except (PyMongoError, ValueError) as error:
        # The driver's texts may hold parts of the address, and the address a password.
        log.error("error: no MongoDB answers at the address in MONGODB_URI_FILE: %s", type(error).__name__)
        return 1
    log.info("%s: %d documents of windows that ended before %s deleted", name, count, before)
    return 0


def cut_off(now: datetime.datetime, days: int) -> str:
    """The time `days` days of 24 hours before `now` as a document's `timestamp` has it: ISO 8601, UTC, whole seconds.

    now: with a time zone. Raises ValueError for less than one day. Texts of this form sort like their times.
    """
    if days < 1:
        raise ValueError(f"RETENTION_DAYS={days}: a whole number from 1 is allowed")
    moment = now.astimezone(datetime.UTC) - datetime.timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
