"""What no package registry has, brought to a cluster: the images and manifests of `tests/e2e` stand in for it.

``python -m deploy.stubs NAMESPACE`` brings it to the repository's own cluster, for skaffold's profile `buildah`.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy import pods
from deploy.chart import copy_without_dependencies
from deploy.cluster import Cluster, ClusterError, Object, load, own_cluster
from images.build import REPOSITORY, BuildError, Image, image

FOLDER = REPOSITORY / "dev" / "stubs"
MANIFESTS = FOLDER / "manifests"
VALUES = FOLDER / "values.yaml"  # of the chart, beside them
FOR_SKAFFOLD = REPOSITORY / ".state" / "skaffold"
KAFKA_SECONDS = 240
OPERATOR_SECONDS = 120


def images() -> list[Image]:
    return [image(file.parent, "test-") for file in sorted((FOLDER / "images").glob("*/Dockerfile"))]


def install(cluster: Cluster, namespace: str, references: Mapping[str, str]) -> None:
    """Kafka with the topics, and the Flink operator with its definitions, Ready. Raises ClusterError."""
    definitions = pods.idle_pod("definitions", references["data-collection/test-flink-operator"])
    cluster.apply([definitions], namespace)
    cluster.await_condition("pod/definitions", "Ready", namespace, OPERATOR_SECONDS)
    script = "for file in /opt/flink-operator/crds/*; do echo ---; cat $file; done"
    told = cluster.execute("definitions", namespace, "sh", "-c", script)
    cluster.run("apply", "--server-side", "-f", "-", stdin=told)
    cluster.remove_now("definitions", namespace)
    cluster.apply([*manifest("flink-operator", references), *manifest("kafka", references)], namespace)
    cluster.await_condition("job/kafka-topics", "complete", namespace, KAFKA_SECONDS)
    cluster.await_condition("deployment/flink-kubernetes-operator", "available", namespace, OPERATOR_SECONDS)


def values(references: Mapping[str, str]) -> list[str]:
    """Helm's arguments for a release beside the stand-ins."""
    images = [f"mongodb.image.{key}={value}" for key, value in mongodb_image(references).items()]
    return ["--values", str(VALUES), *(part for each in images for part in ("--set", each))]


def mongodb_image(references: Mapping[str, str]) -> dict[str, str]:
    repository, _, tag = references["data-collection/test-mongodb"].rpartition(":")
    return {"repository": repository, "tag": tag}


def manifest(name: str, references: Mapping[str, str]) -> list[Object]:
    """The objects of a manifest, each image named in it replaced by its reference in the cluster."""
    objects = list(YAML(typ="safe").load_all(MANIFESTS / f"{name}.yaml"))
    for holder in holders(objects):
        holder["image"] = references[holder["image"]]
    return objects


def holders(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree that names an image."""
    if isinstance(node, dict):
        if isinstance(node.get("image"), str):
            yield node
        for value in node.values():
            yield from holders(value)
    elif isinstance(node, list):
        for value in node:
            yield from holders(value)


def prepare(cluster: Cluster, namespace: str, folder: Path) -> None:
    """The stand-ins in the cluster, and in `folder` the chart to install beside them with the values for it.

    Skaffold calls this at each deployment, and deploys again when a file has changed.
    """
    references = load(cluster, images())
    if cluster.get("deployment", "flink-kubernetes-operator", namespace) is None:
        install(cluster, namespace, references)
    shutil.rmtree(folder, ignore_errors=True)
    copy_without_dependencies(folder)
    values = folder / "values.yaml"
    values.write_text(json.dumps({"mongodb": {"image": mongodb_image(references)}}))
    shutil.copystat(VALUES, values)


def main(namespace: str) -> int:
    try:
        prepare(own_cluster(os.environ), namespace, FOR_SKAFFOLD)
    except (BuildError, ClusterError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
