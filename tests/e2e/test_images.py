"""Each image as a pod: it becomes healthy under PodSecurity `restricted` with a read-only root, and ends on SIGTERM."""

import time

import pytest

from deploy import pods
from deploy.cluster import ClusterError
from tests.e2e.conftest import ClusterNamespace

MAX_FLINK_MEGABYTES = 800
SIGTERM_SECONDS = 20  # the kubelet kills the pods of these tests after 60


@pytest.mark.parametrize(
    ("name", "image", "args", "port", "path", "answer"),
    [
        ("simulator", "simulator", (), 5555, "/healthz", "clients"),
        ("worldometers", "simulator", ("simulator.worldometers_stub",), 5556, "/healthz", ""),
        (
            "watchdog",
            "watchdog",
            ("--namespace=data-collection-test", "--module=simulator.watchdog.main"),
            8080,
            "/healthz",
            "",
        ),
        ("console", "console", (), 8090, "/healthz", "ok"),
        (
            "jobmanager",
            "flink",
            ("jobmanager.sh", "start-foreground", "-D", "rest.bind-address=0.0.0.0"),
            8081,
            "/overview",
            "flink-version",
        ),
    ],
)
def test_an_image_runs_restricted_and_ends_on_sigterm(
    namespace: ClusterNamespace, name: str, image: str, args: tuple[str, ...], port: int, path: str, answer: str
) -> None:
    pod = pods.pod(
        name,
        namespace.images[f"data-collection/{image}"],
        args=args,
        port=port,
        health=path,
        account="default" if name == "watchdog" else None,
        memory="1Gi" if image == "flink" else "256Mi",
    )
    namespace.apply(pod)
    namespace.await_ready(name)
    assert answer in namespace.cluster.http(name, port, path, namespace.name)
    with pytest.raises(ClusterError, match="Read-only file system"):
        namespace.cluster.execute(name, namespace.name, "touch", "/written")
    user = namespace.cluster.execute(name, namespace.name, "id", "-u").strip()
    assert user != "0"
    start = time.monotonic()
    namespace.cluster.delete("pod", namespace.name, name)
    assert time.monotonic() - start < SIGTERM_SECONDS, "it ended on SIGKILL, not on SIGTERM"


def test_the_namespace_rejects_a_pod_that_runs_as_root(namespace: ClusterNamespace) -> None:
    pod = pods.pod("root", namespace.images["data-collection/simulator"])
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        namespace.apply(pod)


def test_flink_image_is_small(namespace: ClusterNamespace) -> None:
    """The size of the root file system without compression and without mounts."""
    namespace.apply(pods.idle_pod("size", namespace.images["data-collection/flink"]))
    namespace.await_ready("size")
    output = namespace.cluster.execute(
        "size", namespace.name, "sh", "-c", "du -xs --apparent-size --block-size=1 / 2>/dev/null || true"
    )
    namespace.remove_now("size")
    assert int(output.split()[0]) / 1_000_000 <= MAX_FLINK_MEGABYTES


def test_the_sql_client_has_the_connectors_of_the_tables(namespace: ClusterNamespace) -> None:
    """Flink's SQL client runs in a pod."""
    script = """
        SET 'sql-client.execution.result-mode' = 'tableau';
        SET 'execution.runtime-mode' = 'batch';
        SET 'execution.target' = 'local';
        CREATE TABLE twitter_table (`hash` STRING, PRIMARY KEY (`hash`) NOT ENFORCED) WITH ('connector' = 'mongodb',
          'uri' = 'mongodb://mongodb:27017', 'database' = 'twitter_db', 'collection' = 'twitter_collection');
        CREATE TABLE tweets (`value` STRING) WITH ('connector' = 'kafka', 'topic' = 'tweets', 'format' = 'raw',
          'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset',
          'scan.bounded.mode' = 'latest-offset');
        EXPLAIN SELECT * FROM twitter_table;
        EXPLAIN SELECT * FROM tweets;
        SELECT 6 * `number` AS `answer` FROM (VALUES (7)) AS numbers (`number`);
    """
    name = "sql-client"
    namespace.apply(pods.idle_pod(name, namespace.images["data-collection/flink"], memory="1500Mi"))
    namespace.await_ready(name)
    namespace.cluster.execute(name, namespace.name, "sh", "-c", "cat > /tmp/script.sql", stdin=script)
    output = namespace.cluster.execute(name, namespace.name, "sql-client.sh", "-f", "/tmp/script.sql", seconds=240)
    namespace.remove_now(name)
    assert "[ERROR]" not in output, output[-3000:]
    assert "42" in output
