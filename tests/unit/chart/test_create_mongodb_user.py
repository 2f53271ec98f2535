"""The users are created or updated as soon as MongoDB answers."""

from pathlib import Path
from typing import ClassVar

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from tests.unit.chart.chart import load_script

script = load_script("create_mongodb_user")
RIGHTS = {"pwd": "secret", "roles": [{"role": "readWrite", "db": "twitter_db"}]}


class Database:
    """Records the commands that it is given; has the user already, or refuses with a code."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.commands: list[tuple[object, ...]] = []

    def command(self, name: str, user: str, **rights: object) -> None:
        self.commands.append((name, user, rights))
        if name == "createUser" and self.code:
            raise OperationFailure("refused", self.code)


def test_a_user_is_created() -> None:
    database = Database()
    assert script.ensure_user(database.command, "app", "secret", "readWrite", "twitter_db") == "created"
    assert database.commands == [("createUser", "app", RIGHTS)]


def test_an_existing_user_gets_the_password_and_roles_again() -> None:
    database = Database(script.USER_EXISTS)
    assert script.ensure_user(database.command, "app", "secret", "readWrite", "twitter_db") == "updated"
    assert database.commands[-1] == ("updateUser", "app", RIGHTS)


def test_any_other_refusal_is_an_error() -> None:
    with pytest.raises(OperationFailure):
        script.ensure_user(Database(13).command, "app", "secret", "readWrite", "twitter_db")


def test_the_script_waits_for_a_starting_mongodb(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    answers = iter([AutoReconnect("refused, and more"), OperationFailure("no such user", 18), None])

    def ping() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    script.await_answer(ping, "mongodb:27017", sleep=lambda _: None)
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for MongoDB at mongodb:27017: refused",
        "waiting for MongoDB at mongodb:27017: no such user",
    ]


def test_the_wait_ends_with_the_reason() -> None:
    def ping() -> None:
        raise AutoReconnect("refused")

    times = iter([0.0, 1.0, script.TIMEOUT_SECONDS + 1.0])
    with pytest.raises(TimeoutError, match=r"no MongoDB answers at mongodb:27017 within 300 s: refused"):
        script.await_answer(ping, "mongodb:27017", clock=lambda: next(times), sleep=lambda _: None)


def test_passwords_are_read_from_files_and_never_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("root-username", "root-password", "username", "password"):
        (tmp_path / name).write_text(f"{name}-in-file\n")
    monkeypatch.setattr(script, "TIMEOUT_SECONDS", 0)
    environment = {
        "MONGODB_ADDRESS": "127.0.0.1:9",
        "MONGODB_DATABASE": "twitter_db",
        "MONGODB_SECRET": str(tmp_path),
    }
    assert script.main(environment) == 1
    assert "no MongoDB answers at 127.0.0.1:9" in caplog.text
    assert "in-file" not in caplog.text


class Client:
    """A MongoDB that knows no user yet. commands: what it was asked, by database."""

    commands: ClassVar[list[tuple[str, str, list[dict[str, str]]]]] = []

    def __init__(self, *_: object, **__: object) -> None:
        self.admin = self

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getitem__(self, database: str) -> "Client":
        assert database == "twitter_db"
        return self

    def command(self, name: str, user: str = "", pwd: str = "", roles: list[dict[str, str]] | None = None) -> None:
        if name == "createUser":
            self.commands.append((user, pwd, roles or []))


@pytest.mark.parametrize("with_reader", [True, False])
def test_the_consoles_user_may_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_reader: bool) -> None:
    monkeypatch.setattr(script, "MongoClient", Client)
    monkeypatch.setattr(Client, "commands", [])
    secret, reader = tmp_path / "secret", tmp_path / "reader"
    for folder in (secret, *([reader] if with_reader else [])):
        folder.mkdir()
        for name in ("root-username", "root-password", "username", "password"):
            (folder / name).write_text(f"{folder.name}-{name}")
    environment = {
        "MONGODB_ADDRESS": "mongodb:27017",
        "MONGODB_DATABASE": "twitter_db",
        "MONGODB_SECRET": str(secret),
        "MONGODB_READER_SECRET": str(reader),
    }
    assert script.main(environment) == 0
    expected = [("secret-username", "secret-password", [{"role": "readWrite", "db": "twitter_db"}])]
    if with_reader:
        expected.append(("reader-username", "reader-password", [{"role": "read", "db": "twitter_db"}]))
    assert Client.commands == expected
