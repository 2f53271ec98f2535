"""Installs stubs of Kafka and of the Flink operator where no image registry and no chart repository can be reached.

Their images and manifests are in dev/stubs. ``python -m deploy.stubs NAMESPACE`` installs them on the project's test
cluster, for skaffold's profile `buildah`.
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
from deploy.cluster import Cluster, ClusterError, Object, build_and_load_images, connect_test_cluster
from images.build import REPOSITORY, BuildError, Image, image

FOLDER = REPOSITORY / "dev" / "stubs"
MANIFESTS = FOLDER / "manifests"
VALUES = FOLDER / "values.yaml"  # the chart's values beside the stubs
FOR_SKAFFOLD = REPOSITORY / ".state" / "skaffold"
KAFKA_SECONDS = 240
OPERATOR_SECONDS = 120


def images() -> list[Image]:
    """The images of the stubs, named data-collection/test-FOLDER."""
    return [image(file.parent, "test-") for file in sorted((FOLDER / "images").glob("*/Dockerfile"))]


def install(cluster: Cluster, namespace: str, references: Mapping[str, str]) -> None:
    """Install Kafka with the topics and the Flink operator with its CRDs, and wait until they are Ready.

    references: {name of an image: its reference in the cluster}. Raises ClusterError.
    """
    # The operator's image contains its CRDs.
    cluster.apply([pods.idle_pod("definitions", references["data-collection/test-flink-operator"])], namespace)
    cluster.await_condition("pod/definitions", "Ready", namespace, OPERATOR_SECONDS)
    script = "for file in /opt/flink-operator/crds/*; do echo ---; cat $file; done"
    crds = cluster.execute("definitions", namespace, "sh", "-c", script)
    cluster.run("apply", "--server-side", "-f", "-", stdin=crds)
    cluster.remove_now("definitions", namespace)
    cluster.apply([*manifest("flink-operator", references), *manifest("kafka", references)], namespace)
    cluster.await_condition("job/kafka-topics", "complete", namespace, KAFKA_SECONDS)
    cluster.await_condition("deployment/flink-kubernetes-operator", "available", namespace, OPERATOR_SECONDS)


def values(references: Mapping[str, str]) -> list[str]:
    """Helm's arguments for a release beside the stubs."""
    images = [f"mongodb.image.{key}={value}" for key, value in mongodb_image(references).items()]
    return ["--values", str(VALUES), *(part for each in images for part in ("--set", each))]


def mongodb_image(references: Mapping[str, str]) -> dict[str, str]:
    repository, _, tag = references["data-collection/test-mongodb"].rpartition(":")
    return {"repository": repository, "tag": tag}


def manifest(name: str, references: Mapping[str, str]) -> list[Object]:
    """The objects of a manifest, with the images' names replaced by their references in the cluster."""
    objects = list(YAML(typ="safe").load_all(MANIFESTS / f"{name}.yaml"))
    for holder in holders(objects):
        holder["image"] = references[holder["image"]]
    return objects


def holders(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree that has the key `image`."""
    if isinstance(node, dict):
        if isinstance(node.get("image"), str):
            yield node
        for value in node.values():
            yield from holders(value)
    elif isinstance(node, list):
        for value in node:
            yield from holders(value)


def prepare(cluster: Cluster, namespace: str, folder: Path) -> None:
    """Install the stubs where they are missing; write to `folder` the chart to install beside them, and its values.

    Skaffold calls this at each deployment, and deploys again when one of the files has changed.
    """
    references = build_and_load_images(cluster, images())
    if cluster.get("deployment", "flink-kubernetes-operator", namespace) is None:
        install(cluster, namespace, references)
    shutil.rmtree(folder, ignore_errors=True)
    copy_without_dependencies(folder)
    values = folder / "values.yaml"
    values.write_text(json.dumps({"mongodb": {"image": mongodb_image(references)}}))
    shutil.copystat(VALUES, values)


def main(namespace: str) -> int:
    try:
        prepare(connect_test_cluster(os.environ), namespace, FOR_SKAFFOLD)
    except (BuildError, ClusterError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
