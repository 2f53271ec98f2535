"""Creates the users of one database in MongoDB, or updates their passwords and roles.

The application's user may read and write, the console's may only read. Settings: MONGODB_ADDRESS (host:port),
MONGODB_DATABASE, MONGODB_SECRET (a folder with the files root-username, root-password, username and password),
MONGODB_READER_SECRET (a folder with username and password; no folder: no such user). Waits for MongoDB. Exit status:
0, or 1 with an error in the log.
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

TIMEOUT_SECONDS = 300
PAUSE_SECONDS = 2
USER_EXISTS = 51003

log = logging.getLogger("create_mongodb_user")
Command = Callable[..., object]


def main(environ: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    address, name = environ["MONGODB_ADDRESS"], environ["MONGODB_DATABASE"]
    secret = Path(environ.get("MONGODB_SECRET", "/run/secrets/mongodb"))
    root, root_password = read(secret, "root-username", "root-password")
    users = {"readWrite": read(secret, "username", "password")}
    reader = Path(environ.get("MONGODB_READER_SECRET", "/run/secrets/mongodb-reader"))
    if reader.is_dir():
        users["read"] = read(reader, "username", "password")
    client: MongoClient[dict[str, Any]] = MongoClient(
        f"mongodb://{address}", username=root, password=root_password, serverSelectionTimeoutMS=2000
    )
    with client:
        try:
            await_answer(lambda: client.admin.command("ping"), address)
            for role, (user, password) in users.items():
                done = ensure_user(client[name].command, user, password, role, name)
                log.info("user %s of database %s: %s, may %s", user, name, done, role)
        except (PyMongoError, TimeoutError) as error:
            log.error("error: %s", error)
            return 1
    return 0


def read(folder: Path, *names: str) -> list[str]:
    return [(folder / name).read_text().rstrip("\n") for name in names]


def await_answer(
    ping: Callable[[], object],
    address: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until `ping` succeeds. MongoDB rejects the root user until it has created it. Raises TimeoutError."""
    end = clock() + TIMEOUT_SECONDS
    while True:
        try:
            ping()
            return
        except (ConnectionFailure, OperationFailure) as error:
            if clock() > end:
                raise TimeoutError(f"no MongoDB answers at {address} within {TIMEOUT_SECONDS} s: {error}") from error
            log.info("waiting for MongoDB at %s: %s", address, str(error).partition(",")[0])
        sleep(PAUSE_SECONDS)


def ensure_user(command: Command, user: str, password: str, role: str, database: str) -> str:
    """Create or update the user; returns "created" or "updated". `command` runs a command on the user's database."""
    rights = {"pwd": password, "roles": [{"role": role, "db": database}]}
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
