"""The collector as a FlinkDeployment: it runs, keeps checkpoints on a volume, loses no post, leaves nothing behind."""

import json
from typing import Any
from urllib.parse import urlsplit

from deploy import pods, stubs
from deploy.cluster import Object
from tests.e2e.conftest import Place
from tests.support.counting import assert_complete, expected_texts, numbers
from tests.support.waiting import await_value

POSTS = 400  # to be counted; twenty a second come
RUNNING_SECONDS = 300


TOPICS = ("collected", "collected.rejected")  # as in the manifest


def test_collector(parts: Place) -> None:
    place = parts
    topics = [f"{TOPICS[0]}:4", f"{TOPICS[1]}:1"]
    place.cluster.execute("kafka-0", place.namespace, "/entrypoint.sh", "topics", "kafka:9092", *topics)
    place.apply(
        pods.pod("simulator", place.images["data-collection/simulator"], port=5555, health="/healthz"),
        pods.service("simulator", 5555),
    )
    place.await_ready("simulator")
    place.apply(*stubs.manifest("collector", place.images))
    await_value(lambda: settled(place), "the collector to be RUNNING and STABLE", RUNNING_SECONDS, every=1)

    found = await_value(lambda: enough(place.posts(TOPICS[0])), f"{POSTS} posts in the topic", 120, every=2)
    seen = numbers(found)
    assert_complete(seen, seen[-1])
    assert sorted(post["text"] for post in found) == expected_texts(seen[0], seen[-1])

    manager = one(place.cluster.list("pods", place.namespace, "app=collector,component=jobmanager"))
    checkpoint = completed_checkpoint(place, manager["metadata"]["name"])
    assert checkpoint.startswith("/flink-state/checkpoints/")
    # What the JobManager says is on the volume, and so is seen from a pod of its own.
    place.apply(reader_of_volume(place))
    place.await_ready("volume")
    kept = place.cluster.execute("volume", place.namespace, "find", checkpoint.rpartition("/")[0], "-name", "_metadata")
    assert kept.count("chk-") > 0
    place.remove_now("volume")

    place.cluster.delete("flinkdeployment", place.namespace, "collector")
    await_value(lambda: not left(place), "everything of the collector to be gone", 60, every=1)
    place.cluster.delete("persistentvolumeclaim", place.namespace, "flink-state")
    place.cluster.delete("pod,service", place.namespace, "simulator")


def settled(place: Place) -> bool:
    status = (place.cluster.get("flinkdeployment", "collector", place.namespace) or {}).get("status", {})
    state = status.get("jobStatus", {}).get("state"), status.get("lifecycleState")
    return state == ("RUNNING", "STABLE")


def enough(posts: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return posts if len(posts) >= POSTS else None


def completed_checkpoint(place: Place, manager: str) -> str:
    """The folder of the newest completed checkpoint."""
    job = one(json.loads(place.cluster.http(manager, 8081, "/jobs", place.namespace))["jobs"])["id"]
    told = json.loads(place.cluster.http(manager, 8081, f"/jobs/{job}/checkpoints", place.namespace))
    assert told["counts"]["completed"] > 0
    return urlsplit(str(told["latest"]["completed"]["external_path"])).path


def reader_of_volume(place: Place) -> Object:
    pod = pods.idle_pod("volume", place.images["data-collection/flink"])
    pod["spec"]["volumes"].append({"name": "state", "persistentVolumeClaim": {"claimName": "flink-state"}})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "state", "mountPath": "/flink-state"})
    return pod


def left(place: Place) -> list[str]:
    """What still exists of the collector."""
    kinds = "pods,deployments,services,configmaps,flinkdeployments"
    return [each["metadata"]["name"] for each in place.cluster.list(kinds, place.namespace, "app=collector")]


def one(items: list[Any]) -> Any:
    assert len(items) == 1, items
    return items[0]
