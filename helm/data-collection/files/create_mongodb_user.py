"""Creates the application's user in MongoDB, with readWrite on one database, or sets its password and roles anew.

Settings: MONGODB_ADDRESS (host:port), MONGODB_DATABASE, MONGODB_SECRET (a folder with the files root-username,
root-password, username and password). Waits for the database. Exit status: 0, or 1 with a reason.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

LIMIT_SECONDS = 300
PAUSE_SECONDS = 2
USER_EXISTS = 51003

log = logging.getLogger("create_mongodb_user")
Command = Callable[..., object]


def main(environ: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    address, name = environ["MONGODB_ADDRESS"], environ["MONGODB_DATABASE"]
    secret = Path(environ.get("MONGODB_SECRET", "/run/secrets/mongodb"))
    root, root_password, user, password = (
        (secret / key).read_text().rstrip("\n") for key in ("root-username", "root-password", "username", "password")
    )
    client: MongoClient[dict[str, Any]] = MongoClient(
        f"mongodb://{address}", username=root, password=root_password, serverSelectionTimeoutMS=2000
    )
    with client:
        try:
            await_answer(lambda: client.admin.command("ping"), address)
            done = ensure_user(client[name].command, user, password, name)
        except (PyMongoError, TimeoutError) as error:
            log.error("error: %s", error)
            return 1
    log.info("user %s of database %s: %s", user, name, done)
    return 0


def await_answer(
    ping: Callable[[], object],
    address: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Raises TimeoutError. A database that is still making its first user refuses to be spoken to as that user."""
    end = clock() + LIMIT_SECONDS
    while True:
        try:
            ping()
            return
        except (ConnectionFailure, OperationFailure) as error:
            if clock() > end:
                raise TimeoutError(f"no MongoDB answers at {address} within {LIMIT_SECONDS} s: {error}") from error
            log.info("waiting for MongoDB at %s: %s", address, str(error).partition(",")[0])
        sleep(PAUSE_SECONDS)


def ensure_user(command: Command, user: str, password: str, database: str) -> str:
    """Create or update the user; says which. `command` runs a command on the user's database."""
    rights = {"pwd": password, "roles": [{"role": "readWrite", "db": database}]}
    try:
        command("createUser", user, **rights)
    except OperationFailure as error:
        if error.code != USER_EXISTS:
            raise
        command("updateUser", user, **rights)
        return "updated"
    return "created"


if __name__ == "__main__":
    sys.exit(main())
