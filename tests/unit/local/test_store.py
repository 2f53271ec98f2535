"""Which document store the local stack starts."""

from pathlib import Path

from local.settings import Settings
from local.store import Store, store_command


def test_mongod_is_preferred_where_it_is_installed() -> None:
    kind, command = store_command(Path("data"), 1234, "/usr/bin/mongod")
    assert kind == "mongod"
    assert command == ["/usr/bin/mongod", "--dbpath", "data", "--port", "1234", "--bind_ip", "127.0.0.1"]


def test_secantusdb_is_started_as_a_program_elsewhere() -> None:
    kind, command = store_command(Path("data"), 1234, None)
    assert kind == "SecantusDB"
    assert Path(command[0]).is_file()
    assert {"127.0.0.1", "1234", "data"} < set(command)


def test_the_users_own_store_is_not_started() -> None:
    store = Store(Settings(mongodb_uri="mongodb://theirs:27017"))
    assert store.program is None
    assert store.uri == "mongodb://theirs:27017"
