"""The collector as a FlinkDeployment: it runs, keeps checkpoints on a volume, loses no post, leaves nothing behind."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs.names import TWEETS_TOPIC
from local.cluster import Object
from tests.cluster import pods
from tests.cluster.conftest import Place
from tests.counting import assert_complete, expected_texts, numbers
from tests.waiting import await_value

READ_TOPIC = (Path(__file__).parent / "read_topic.py").read_text()
POSTS = 400  # to be counted; twenty a second come
RUNNING_SECONDS = 300


@pytest.fixture(scope="module")
def pipeline(place: Place) -> Place:
    """Kafka with the topics, the Flink operator, the simulator and a pod that reads topics."""
    install_definitions(place)
    place.apply(*pods.manifest("flink-operator", place.images), *pods.manifest("kafka", place.images))
    place.apply(
        pods.pod("simulator", place.images["data-collection/simulator"], port=5555, health="/healthz"),
        pods.service("simulator", 5555),
        pods.idle_pod("reader", place.images["data-collection/flink"]),
    )
    place.await_ready("simulator")
    place.await_ready("reader")
    place.await_condition("job/kafka-topics", "complete", 240)
    place.await_condition("deployment/flink-kubernetes-operator", "available", 120)
    return place


def test_collector(pipeline: Place) -> None:
    place = pipeline
    place.apply(*pods.manifest("collector", place.images))
    await_value(lambda: settled(place), "the collector to be RUNNING and STABLE", RUNNING_SECONDS, every=1)

    found = await_value(lambda: enough(topic(place)), f"{POSTS} posts in the topic", 120, every=2)
    seen = numbers(found)
    assert_complete(seen, seen[-1])
    assert sorted(post["text"] for post in found) == expected_texts(seen[0], seen[-1])

    manager = one(place.cluster.list("pods", place.namespace, "app=collector,component=jobmanager"))
    checkpoint = completed_checkpoint(place, manager["metadata"]["name"])
    assert checkpoint.startswith("/flink-state/checkpoints/")
    # What the JobManager says is on the volume, and so is seen from a pod of its own.
    place.apply(reader_of_volume(place))
    place.await_ready("volume")
    place.cluster.execute("volume", place.namespace, "ls", f"{checkpoint}/_metadata")
    place.remove_now("volume")

    place.cluster.delete("flinkdeployment", place.namespace, "collector")
    await_value(lambda: not left(place), "everything of the collector to be gone", 60, every=1)


def install_definitions(place: Place) -> None:
    """The operator's own custom resource definitions, out of its image."""
    image = place.images["data-collection/test-flink-operator"]
    place.apply(pods.idle_pod("definitions", image))
    place.await_ready("definitions")
    told = place.cluster.execute(
        "definitions", place.namespace, "sh", "-c", "for f in /opt/flink-operator/crds/*; do echo ---; cat $f; done"
    )
    place.cluster.run("apply", "--server-side", "-f", "-", stdin=told)
    place.remove_now("definitions")


def settled(place: Place) -> bool:
    status = (place.cluster.get("flinkdeployment", "collector", place.namespace) or {}).get("status", {})
    state = status.get("jobStatus", {}).get("state"), status.get("lifecycleState")
    return state == ("RUNNING", "STABLE")


def topic(place: Place) -> list[dict[str, Any]]:
    """The posts in the topic; heartbeats have no text."""
    command = ("python", "-", "kafka:9092", TWEETS_TOPIC)
    lines = place.cluster.execute("reader", place.namespace, *command, stdin=READ_TOPIC).splitlines()
    return [post for line in lines if (post := json.loads(line))["text"] is not None]


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
