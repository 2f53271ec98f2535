"""`make sql_client`: Flink's SQL client on the running demo, else on the cluster, with `twitter_table` created."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from images.build import BuildError, image
from jobs import sql
from jobs.names import COLLECTION, DATABASE
from jobs.settings import SettingError
from local import pods
from local.cluster import Cluster, ClusterError, connect, load
from local.flink import FLINK_HOME, Flink
from local.process import inherited_environment
from local.release import NAMESPACE, RELEASE, Release
from local.settings import REPOSITORY, read_settings

QUERY_SECONDS = 120
POD = "sql-client"
INIT, QUERY = "/tmp/init.sql", "/tmp/query.sql"  # noqa: S108 - in the pod
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
    query = os.environ.get("SQL", "").strip().rstrip(";")
    flink = Flink(settings)
    if not flink.get("/overview"):
        try:
            return on_cluster(connect(start=False), query)
        except (ClusterError, BuildError) as error:
            return fail(f"no demo runs here ({settings.flink_url} does not answer: make demo), and {error}")
    folder = settings.run / "sql-client"
    folder.mkdir(parents=True, exist_ok=True)
    start = write_statements(folder / "init.sql", init_statements(settings.store_uri, OPTIONS))
    command = [str(FLINK_HOME / "bin" / "sql-client.sh"), "--init", str(start), "--history", str(folder / "history")]
    environment = {**inherited_environment(), **flink.environment}
    if query:
        script = write_statements(folder / f"query-{os.getpid()}.sql", [query])
        return run_query([*command, "--file", str(script)], environment)
    return subprocess.run(command, env=environment, check=False).returncode


def on_cluster(cluster: Cluster, query: str) -> int:
    """The client in a pod beside the release; returns its status. Raises ClusterError or BuildError."""
    Release(cluster).require_installed()
    flink = image(REPOSITORY / "images" / "flink")
    pod = pods.idle_pod(POD, load(cluster, [flink])[flink.name], memory="1500Mi")
    # With these labels the chart's NetworkPolicies let it speak to the database.
    pod["metadata"]["labels"] = {
        "app.kubernetes.io/name": "data-collection",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": POD,
    }
    cluster.apply([pod], NAMESPACE)
    cluster.await_condition(f"pod/{POD}", "Ready", NAMESPACE, 120)
    statements = init_statements(database_uri(cluster, NAMESPACE), {**OPTIONS, "execution.target": "local"})
    write_in_pod(cluster, INIT, statements)
    command = ["sql-client.sh", "--init", INIT, "--history", f"{INIT}.history"]
    if not query:
        terminal = ["kubectl", "--context", cluster.target.context, "exec", "-it", POD, "-n", NAMESPACE, "--"]
        return subprocess.run([*terminal, *command], env=dict(cluster.environment), check=False).returncode
    write_in_pod(cluster, QUERY, [query])
    printed = cluster.execute(POD, NAMESPACE, *command, "--file", QUERY, seconds=QUERY_SECONDS)
    return show(printed)


def database_uri(cluster: Cluster, namespace: str) -> str:
    """The application user's address of the release's database."""
    secret = cluster.get("secret", f"{RELEASE}-mongodb", namespace)
    if secret is None:
        raise ClusterError(f"there is no Secret {RELEASE}-mongodb: an external MongoDB is asked at its own address")
    return base64.b64decode(secret["data"]["uri"]).decode()


def write_in_pod(cluster: Cluster, path: str, statements: list[str]) -> None:
    """Through standard input: an address with a password belongs in no list of processes."""
    cluster.execute(POD, NAMESPACE, "sh", "-c", f"umask 077; cat > {path}", stdin=script(statements))


def init_statements(uri: str, options: Mapping[str, str]) -> list[str]:
    """What the client runs first: its options, and the table over the documents."""
    values = {"mongodb_uri": uri, "database": DATABASE, "collection": COLLECTION}
    settings = [f"SET {sql.literal(name)} = {sql.literal(value)}" for name, value in options.items()]
    return [*settings, *sql.statements("twitter_table", values)]


def script(statements: list[str]) -> str:
    return "".join(f"{statement};\n" for statement in statements)


def write_statements(path: Path, statements: list[str]) -> Path:
    """Write a script that only this user can read: the table's URI may hold a password."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(script(statements))
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
    return show(result.stdout) if result.returncode == 0 else fail(result_of(result.stdout) or result.stderr.strip())


def show(printed: str) -> int:
    """Print a result; exit status 1 for an error, which the client itself ends with status 0."""
    output = result_of(printed)
    failed = "[ERROR]" in output
    (sys.stderr if failed else sys.stdout).write(f"{output}\n")
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
