"""What `make sql_client` shows of the client's output, and the script that it starts with."""

import stat
from pathlib import Path

import pytest

from local.sql_client import init_statements, result_of, write_statements

TABLE = "+----+\n|  x |\n+----+\n|  1 |\n+----+\n1 row in set (0.52 seconds)"
NOISE = "Successfully initialized from sql script: file:/x\n\x1b[34;1m[INFO] Executing SQL from file.\x1b[0m\n\n"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (f"Flink SQL> SELECT 1{TABLE}\n\nFlink SQL> ", TABLE),
        (
            "Flink SQL> \x1b[31;1m[ERROR] Could not execute SQL statement. Reason:\nColumn 'y' not found\x1b[0m\n",
            "[ERROR] Could not execute SQL statement. Reason:\nColumn 'y' not found",
        ),
        ("Flink SQL> [INFO] Execute statement succeed.\n\nFlink SQL> ", "[INFO] Execute statement succeed."),
    ],
    ids=["table", "error", "no result"],
)
def test_only_the_result_is_shown(body: str, shown: str) -> None:
    assert result_of(f"{NOISE}{body}\nShutting down the session...\ndone.\n") == shown


def test_output_that_is_not_known_is_shown_whole() -> None:
    assert result_of("no such file") == "no such file"


def test_the_table_is_created_over_the_stacks_store(tmp_path: Path) -> None:
    statements = init_statements("mongodb://u:it's@host/", {"execution.target": "local"})
    assert statements[0] == "SET 'execution.target' = 'local'"
    *_, create = statements
    assert create.startswith("CREATE TABLE IF NOT EXISTS twitter_table")
    assert "'uri' = 'mongodb://u:it''s@host/'" in create
    script = write_statements(tmp_path / "init.sql", statements)
    assert stat.S_IMODE(script.stat().st_mode) == 0o600
