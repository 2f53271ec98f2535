"""The chart's script that deletes old documents: the cut-off, and its query."""

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from jobs.documents import iso, unix
from tests.unit.chart.chart import load_script

script = load_script("delete_old_documents")
NOW = datetime.datetime(2026, 3, 1, 0, 0, 5, 900_000, tzinfo=datetime.UTC)


class Database:
    """A client of a database with one collection of documents; `error` is raised by a deletion."""

    def __init__(self, timestamps: list[object], error: Exception | None = None) -> None:
        self.timestamps = timestamps
        self.error = error
        self.indexes: list[str] = []
        self.addresses: list[str] = []
        self.options: list[dict[str, object]] = []
        self.deleted_count = 0

    def __call__(self, address: str, **options: object) -> "Database":
        self.addresses.append(address)
        self.options.append(options)
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __getitem__(self, _: str) -> "Database":
        return self

    def create_index(self, name: str) -> None:
        self.indexes.append(name)

    def delete_many(self, query: dict[str, dict[str, str]]) -> "Database":
        if self.error:
            raise self.error
        assert list(query) == ["timestamp"]
        ((operator, before),) = query["timestamp"].items()
        assert operator == "$lt"
        kept = [each for each in self.timestamps if not (isinstance(each, str) and each < before)]
        self.deleted_count = len(self.timestamps) - len(kept)
        self.timestamps = kept
        return self


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "uri").write_text("mongodb://user:PLANTED@database/\n")
    names = {"MONGODB_DATABASE": "twitter_db", "MONGODB_COLLECTION": "twitter_collection"}
    return {"MONGODB_URI_FILE": str(tmp_path / "uri"), "RETENTION_DAYS": "2", **names}


def run(environment: dict[str, str], database: Database) -> int:
    status: int = script.main(environment, lambda: NOW, database)
    return status


@pytest.mark.parametrize(
    ("days", "expected"),
    [(1, "2026-02-28T00:00:05Z"), (60, "2025-12-31T00:00:05Z"), (365, "2025-03-01T00:00:05Z")],
)
def test_the_cut_off_is_written_like_a_documents_timestamp(days: int, expected: str) -> None:
    assert script.cut_off(NOW, days) == expected == iso(unix(expected))


def test_the_cut_off_is_in_utc() -> None:
    there = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    assert script.cut_off(there, 1) == script.cut_off(NOW, 1)


def test_no_days_are_refused() -> None:
    with pytest.raises(ValueError, match="RETENTION_DAYS=0"):
        script.cut_off(NOW, 0)


def test_only_older_documents_are_deleted(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept: list[Any] = ["2026-02-27T00:00:05Z", "2026-03-01T00:00:00Z", 5]
    database = Database(["2025-12-31T23:59:59Z", "2026-02-27T00:00:04Z", *kept])
    assert run(environment, database) == 0
    assert database.timestamps == kept
    assert database.indexes == ["timestamp"]
    assert database.addresses == ["mongodb://user:PLANTED@database/"]
    assert "2 documents of windows that ended before 2026-02-27T00:00:05Z deleted" in caplog.text


def test_the_driver_gets_the_ca(environment: dict[str, str]) -> None:
    database = Database([])
    assert run(environment, database) == run({**environment, "MONGODB_CA_FILE": "/ca.crt"}, database) == 0
    without, with_it = database.options
    assert {**without, "tlsCAFile": "/ca.crt"} == with_it


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerSelectionTimeoutError("user:PLANTED@database"), "ServerSelectionTimeoutError"),
        (OperationFailure("x", details={"errmsg": "not authorized"}), "MongoDB refuses: not authorized"),
    ],
)
def test_an_error_of_mongodb_is_logged_without_its_address(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture, error: Exception, expected: str
) -> None:
    assert run(environment, Database([], error)) == 1
    assert expected in caplog.text
    assert "PLANTED" not in caplog.text
