"""`make sql_client`: Flink's SQL client on the running demo, with `twitter_table` already created."""

import os
import re
import subprocess
import sys
from pathlib import Path

from jobs import sql
from jobs.names import COLLECTION, DATABASE
from jobs.settings import SettingError
from local.flink import FLINK_HOME, Flink
from local.settings import Settings, read_settings

QUERY_SECONDS = 120
OPTIONS = {
    # Results as a table of plain text, of what is in the collection now.
    "sql-client.execution.result-mode": "tableau",
    "execution.runtime-mode": "batch",
    "table.local-time-zone": "UTC",
}


def main() -> int:
    try:
        settings = read_settings()
    except SettingError as error:
        return fail(str(error))
    flink = Flink(settings)
    if not flink.get("/overview"):
        return fail(f"no Flink answers at {settings.flink_url}: start `make demo` in another terminal first")
    folder = settings.run / "sql-client"
    folder.mkdir(parents=True, exist_ok=True)
    start = write_statements(folder / "init.sql", init_statements(settings))
    command = [str(FLINK_HOME / "bin" / "sql-client.sh"), "--init", str(start), "--history", str(folder / "history")]
    environment = {**os.environ, **flink.environment}
    if query := os.environ.get("SQL", "").strip().rstrip(";"):
        script = write_statements(folder / f"query-{os.getpid()}.sql", [query])
        return run_query([*command, "--file", str(script)], environment)
    return subprocess.run(command, env=environment, check=False).returncode


def init_statements(settings: Settings) -> list[str]:
    """What the client runs first: its options, and the table over the documents."""
    values = {"mongodb_uri": settings.store_uri, "database": DATABASE, "collection": COLLECTION}
    options = [f"SET {sql.literal(name)} = {sql.literal(value)}" for name, value in OPTIONS.items()]
    return [*options, *sql.statements("twitter_table", values)]


def write_statements(path: Path, statements: list[str]) -> Path:
    """Write a script that only this user can read: the table's URI may hold a password."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{statement};\n" for statement in statements))
    return path


def run_query(command: list[str], environment: dict[str, str]) -> int:
    """Print the result of a script; exit status 1 when one of its statements failed."""
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
    output = result_of(result.stdout)
    # The client ends with status 0 whatever its statements did.
    failed = result.returncode != 0 or "[ERROR]" in output
    (sys.stderr if failed else sys.stdout).write((output or result.stderr.strip()) + "\n")
    return int(failed)


def result_of(output: str) -> str:
    """The client's output without its greetings, its echo of the statement and its colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    body = plain.partition("Flink SQL> ")[2].rpartition("Shutting down the session")[0] or plain
    shown = re.search(r"^.*?(?=\+-|\[ERROR\]|\[INFO\]|== )", body, re.DOTALL)
    return (body[shown.end() :] if shown else body).replace("Flink SQL>", "").strip()


def fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
