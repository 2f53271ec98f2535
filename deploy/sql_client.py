"""`make sql_client`: Flink's SQL client on the running demo, else on the cluster, with `twitter_table` created."""

import base64
import os
import subprocess
import sys

from deploy import pods
from deploy.cluster import Cluster, ClusterError, build_and_load_images, connect
from deploy.installed import FULLNAME, NAMESPACE, RELEASE
from deploy.release import Release, labels
from images.build import REPOSITORY, BuildError, image
from jobs.settings import SettingError
from local.flink import Flink
from local.settings import read_settings
from local.sql_client import OPTIONS, QUERY_SECONDS, fail, init_statements, on_demo, script, show

POD = "sql-client"
INIT, QUERY = "/tmp/init.sql", "/tmp/query.sql"  # noqa: S108 - in the pod


def main() -> int:
    try:
        settings = read_settings()
    except SettingError as error:
        return fail(str(error))
    query = os.environ.get("SQL", "").strip().rstrip(";")
    if Flink(settings).get("/overview"):
        return on_demo(settings, query)
    try:
        return on_cluster(connect(start=False), query)
    except (ClusterError, BuildError) as error:
        return fail(f"no demo runs here ({settings.flink_url} does not answer: make demo), and {error}")


def on_cluster(cluster: Cluster, query: str) -> int:
    """Run the client in a pod beside the release; returns its exit status. Raises ClusterError or BuildError."""
    Release(cluster).require_installed(RELEASE, NAMESPACE)
    flink = image(REPOSITORY / "images" / "flink")
    pod = pods.idle_pod(POD, build_and_load_images(cluster, [flink])[flink.name], memory="1500Mi")
    # By these labels the chart's NetworkPolicies allow connections to the database.
    pod["metadata"]["labels"] = labels(POD, RELEASE)
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
    """The URI of the release's database with the application user's login. Raises ClusterError."""
    secret = cluster.get("secret", f"{FULLNAME}-mongodb", namespace)
    if secret is None:
        raise ClusterError(f"Secret {FULLNAME}-mongodb does not exist: query an external MongoDB at its own address")
    return base64.b64decode(secret["data"]["uri"]).decode()


def write_in_pod(cluster: Cluster, path: str, statements: list[str]) -> None:
    """Write statements to a file in the pod, through standard input: an argument with a password is visible in `ps`."""
    cluster.execute(POD, NAMESPACE, "sh", "-c", f"umask 077; cat > {path}", stdin=script(statements))


if __name__ == "__main__":
    sys.exit(main())
