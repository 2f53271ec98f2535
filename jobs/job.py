"""The steps that both jobs' entry points share: setting errors, tables, and the submission of the inserts."""

import contextlib
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jobs.settings import SettingError

if TYPE_CHECKING:
    from pyflink.table import StreamTableEnvironment


# Kafka aborts a transaction that is open for longer. This is the broker's default maximum (transaction.max.timeout.ms).
TRANSACTION_TIMEOUT_MS = 900_000


def new_run() -> str:
    """A new random name for this submission of a job."""
    return uuid.uuid4().hex[:8]


@contextlib.contextmanager
def exit_on_setting_error() -> Iterator[None]:
    """On a SettingError, write one line to stderr and exit with status 2."""
    try:
        yield
    except SettingError as error:
        sys.stderr.write(f"SettingError: {error}\n")
        raise SystemExit(2) from None


def create_tables(tables: "StreamTableEnvironment", statements: Sequence[str]) -> None:
    """Execute all statements except the inserts, in order."""
    for statement in statements:
        if not is_insert(statement):
            tables.execute_sql(statement)


def submit(tables: "StreamTableEnvironment", statements: Sequence[str]) -> None:
    """Submit all inserts together as one job."""
    inserts = tables.create_statement_set()
    for statement in filter(is_insert, statements):
        inserts.add_insert_sql(statement)
    inserts.execute()


def is_insert(statement: str) -> bool:
    return statement.lstrip().startswith("INSERT")
