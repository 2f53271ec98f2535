"""The collector as a FlinkDeployment: it writes checkpoints to a volume, loses no post, and is deleted completely."""

import json
from typing import Any
from urllib.parse import urlsplit

from deploy import pods, stubs
from deploy.cluster import Object
from tests.e2e.conftest import ClusterNamespace
from tests.support.counting import assert_complete, expected_texts, numbers
from tests.support.waiting import await_value

POSTS = 400  # to count; the simulator sends twenty a second
RUNNING_SECONDS = 300


TOPICS = ("collected", "collected.rejected")  # as in the manifest


def test_the_collector_publishes_each_post_writes_checkpoints_and_is_deleted(
    namespace_with_stubs: ClusterNamespace,
) -> None:
    namespace = namespace_with_stubs
    topics = [f"{TOPICS[0]}:4", f"{TOPICS[1]}:1"]
    namespace.cluster.execute("kafka-0", namespace.name, "/entrypoint.sh", "topics", "kafka:9092", *topics)
    namespace.apply(
        pods.pod("simulator", namespace.images["data-collection/simulator"], port=5555, health="/healthz"),
        pods.service("simulator", 5555),
    )
    namespace.await_ready("simulator")
    namespace.apply(*stubs.manifest("collector", namespace.images))
    await_value(
        lambda: running_and_stable(namespace), "the collector to be RUNNING and STABLE", RUNNING_SECONDS, every=1
    )

    found = await_value(lambda: if_enough(namespace.posts(TOPICS[0])), f"{POSTS} posts in the topic", 120, every=2)
    published = numbers(found)
    assert_complete(published, published[-1])
    assert sorted(post["text"] for post in found) == expected_texts(published[0], published[-1])

    manager = one(namespace.cluster.list("pods", namespace.name, "app=collector,component=jobmanager"))
    checkpoint = completed_checkpoint(namespace, manager["metadata"]["name"])
    assert checkpoint.startswith("/flink-state/checkpoints/")
    # Another pod finds the checkpoint on the volume.
    namespace.apply(pod_with_volume(namespace))
    namespace.await_ready("volume")
    files = namespace.cluster.execute(
        "volume", namespace.name, "find", checkpoint.rpartition("/")[0], "-name", "_metadata"
    )
    assert files.count("chk-") > 0
    namespace.remove_now("volume")

    namespace.cluster.delete("flinkdeployment", namespace.name, "collector")
    await_value(lambda: not remaining_objects(namespace), "all objects of the collector to be deleted", 60, every=1)
    namespace.cluster.delete("persistentvolumeclaim", namespace.name, "flink-state")
    namespace.cluster.delete("pod,service", namespace.name, "simulator")


def running_and_stable(namespace: ClusterNamespace) -> bool:
    status = (namespace.cluster.get("flinkdeployment", "collector", namespace.name) or {}).get("status", {})
    state = status.get("jobStatus", {}).get("state"), status.get("lifecycleState")
    return state == ("RUNNING", "STABLE")


def if_enough(posts: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return posts if len(posts) >= POSTS else None


def completed_checkpoint(namespace: ClusterNamespace, manager: str) -> str:
    """The folder of the newest completed checkpoint."""
    job = one(json.loads(namespace.cluster.http(manager, 8081, "/jobs", namespace.name))["jobs"])["id"]
    checkpoints = json.loads(namespace.cluster.http(manager, 8081, f"/jobs/{job}/checkpoints", namespace.name))
    assert checkpoints["counts"]["completed"] > 0
    return urlsplit(str(checkpoints["latest"]["completed"]["external_path"])).path


def pod_with_volume(namespace: ClusterNamespace) -> Object:
    pod = pods.idle_pod("volume", namespace.images["data-collection/flink"])
    pod["spec"]["volumes"].append({"name": "state", "persistentVolumeClaim": {"claimName": "flink-state"}})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "state", "mountPath": "/flink-state"})
    return pod


def remaining_objects(namespace: ClusterNamespace) -> list[str]:
    """The names of the collector's objects that still exist."""
    kinds = "pods,deployments,services,configmaps,flinkdeployments"
    return [each["metadata"]["name"] for each in namespace.cluster.list(kinds, namespace.name, "app=collector")]


def one(items: list[Any]) -> Any:
    assert len(items) == 1, items
    return items[0]
