"""The document store of the local stack: the user's database, else a `mongod` on PATH, else SecantusDB."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from jobs.defaults import COLLECTION, DATABASE
from local.process import Program, wait_until
from local.settings import Settings


class Store:
    """The store. `program` is None when MONGODB_URI names the user's database."""

    def __init__(self, settings: Settings) -> None:
        self.uri = settings.store_uri
        self.data = settings.run / "store"
        self.kind = "the given URI"
        self.program: Program | None = None
        if settings.mongodb_uri is None:
            self.kind, command = store_command(self.data, settings.ports.mongodb, shutil.which("mongod"))
            self.program = Program(self.kind, command, settings.logs / "store.log", owner=settings.state)

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        if self.program is not None:
            self.program.start()

    def await_ready(self, seconds: float = 60) -> None:
        """Wait until the store answers a ping. Raises StackError, without the URI: it may have a password."""
        wait_until(self.answers, "the document store to answer", seconds, program=self.program)

    def answers(self) -> bool:
        try:
            with client(self.uri) as connection:
                return bool(connection.admin.command("ping"))
        except PyMongoError:
            return False


def store_command(data: Path, port: int, mongod: str | None) -> tuple[str, list[str]]:
    """The name of the store and its command line: MongoDB where `mongod` is installed, else SecantusDB.

    mongod: path of the program, or None
    """
    if mongod is not None:
        return "mongod", [mongod, "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"]
    # SecantusDB runs as a process of its own and is never imported: its licence is GPL-2.0, this project's Apache-2.0.
    program = Path(sys.executable).with_name("secantusd-py")
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--storage-path",
        str(data),
        "--log-level",
        "WARNING",
    ]
    return "SecantusDB", [str(program), *options]


def client(uri: str) -> pymongo.MongoClient[dict[str, Any]]:
    """A client that gives up after five seconds; the driver's default is thirty."""
    return pymongo.MongoClient(uri, serverSelectionTimeoutMS=5_000, connectTimeoutMS=5_000)


def collection(connection: pymongo.MongoClient[dict[str, Any]]) -> Collection[dict[str, Any]]:
    return connection[DATABASE][COLLECTION]
