"""Each image as a pod: under PodSecurity `restricted`, with a read-only root, healthy, and it ends on SIGTERM."""

import time

import pytest

from deploy import pods
from deploy.cluster import ClusterError
from tests.e2e.conftest import Place

MAX_FLINK_MEGABYTES = 1_000
SIGTERM_SECONDS = 20  # of the 60 that a pod is given here before it is killed


@pytest.mark.parametrize(
    ("name", "image", "args", "port", "path", "said"),
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
def test_image(place: Place, name: str, image: str, args: tuple[str, ...], port: int, path: str, said: str) -> None:
    pod = pods.pod(
        name,
        place.images[f"data-collection/{image}"],
        args=args,
        port=port,
        health=path,
        account="default" if name == "watchdog" else None,
        memory="1Gi" if image == "flink" else "256Mi",
    )
    place.apply(pod)
    place.await_ready(name)
    assert said in place.cluster.http(name, port, path, place.namespace)
    with pytest.raises(ClusterError, match="Read-only file system"):
        place.cluster.execute(name, place.namespace, "touch", "/written")
    user = place.cluster.execute(name, place.namespace, "id", "-u").strip()
    assert user != "0"
    start = time.monotonic()
    place.cluster.delete("pod", place.namespace, name)
    assert time.monotonic() - start < SIGTERM_SECONDS, "it was killed, not asked to end"


def test_restricted_is_enforced(place: Place) -> None:
    pod = pods.pod("root", place.images["data-collection/simulator"])
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        place.apply(pod)


def test_flink_image_is_small(place: Place) -> None:
    """What the root file system holds, uncompressed; mounts don't count."""
    place.apply(pods.idle_pod("size", place.images["data-collection/flink"]))
    place.await_ready("size")
    told = place.cluster.execute(
        "size", place.namespace, "sh", "-c", "du -xs --apparent-size --block-size=1 / 2>/dev/null || true"
    )
    place.remove_now("size")
    assert int(told.split()[0]) / 1_000_000 <= MAX_FLINK_MEGABYTES


def test_sql_client(place: Place) -> None:
    """Flink's SQL client runs as a pod, and has the connectors that the tables need."""
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
    place.apply(pods.idle_pod(name, place.images["data-collection/flink"], memory="1500Mi"))
    place.await_ready(name)
    place.cluster.execute(name, place.namespace, "sh", "-c", "cat > /tmp/script.sql", stdin=script)
    told = place.cluster.execute(name, place.namespace, "sql-client.sh", "-f", "/tmp/script.sql", seconds=240)
    place.remove_now(name)
    assert "[ERROR]" not in told, told[-3000:]
    assert "42" in told
