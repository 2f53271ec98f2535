"""Flink's SQL client on the running demo, with `twitter_table` created."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from jobs import sql
from jobs.defaults import COLLECTION, DATABASE
from local.flink import FLINK_HOME, Flink
from local.process import inherited_environment
from local.settings import Settings

QUERY_SECONDS = 120
OPTIONS = {
    # Results are tables of plain text, of the collection's present content.
    "sql-client.execution.result-mode": "tableau",
    "execution.runtime-mode": "batch",
    "table.local-time-zone": "UTC",
}


def on_demo(settings: Settings, query: str) -> int:
    """Run the client in this terminal, or a single query without it; returns the exit status.

    query: a statement, or "" for the terminal
    """
    flink = Flink(settings)
    folder = settings.run / "sql-client"
    folder.mkdir(parents=True, exist_ok=True)
    start = write_statements(folder / "init.sql", init_statements(settings.store_uri, OPTIONS))
    command = [str(FLINK_HOME / "bin" / "sql-client.sh"), "--init", str(start), "--history", str(folder / "history")]
    environment = {**inherited_environment(), **flink.environment}
    if query:
        file = write_statements(folder / f"query-{os.getpid()}.sql", [query])
        return run_query([*command, "--file", str(file)], environment)
    return subprocess.run(command, env=environment, check=False).returncode


def init_statements(uri: str, options: Mapping[str, str]) -> list[str]:
    """The statements that the client runs first: its options, and CREATE TABLE for the documents."""
    values = {"mongodb_uri": uri, "database": DATABASE, "collection": COLLECTION}
    settings = [f"SET {sql.literal(name)} = {sql.literal(value)}" for name, value in options.items()]
    return [*settings, *sql.statements("twitter_table", values)]


def script(statements: list[str]) -> str:
    return "".join(f"{statement};\n" for statement in statements)


def write_statements(path: Path, statements: list[str]) -> Path:
    """Write a script that only this user can read, since the table's URI may have a password."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(script(statements))
    return path


def run_query(command: list[str], environment: dict[str, str]) -> int:
    """Run a script and print its result; returns 1 when a statement failed, else 0."""
    try:
        result = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=QUERY_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return fail(f"no result came within {QUERY_SECONDS} s")
    return show(result.stdout) if result.returncode == 0 else fail(result_of(result.stdout) or result.stderr.strip())


def show(printed: str) -> int:
    """Print a result; returns 1 for an error, since the client itself exits with 0 then."""
    output = result_of(printed)
    failed = "[ERROR]" in output
    (sys.stderr if failed else sys.stdout).write(f"{output}\n")
    return int(failed)


def result_of(output: str) -> str:
    """The client's output without its banner, its echo of the statement and its colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    body = plain.partition("Flink SQL> ")[2].rpartition("Shutting down the session")[0] or plain
    shown = re.search(r"^.*?(?=\+-|\[ERROR\]|\[INFO\]|== )", body, re.DOTALL)
    return (body[shown.end() :] if shown else body).replace("Flink SQL>", "").strip()


def fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return 1
