"""The manifests of the stubs, with the images' references in the cluster."""

import pytest

from deploy.stubs import holders, images, manifest, values

REFERENCES = {f"data-collection/{name}": f"localhost:5000/{name}:1" for name in ("flink", "test-kafka", "test-mongodb")}


def test_images() -> None:
    assert [image.name for image in images()] == [
        "data-collection/test-flink-operator",
        "data-collection/test-kafka",
        "data-collection/test-mongodb",
        "data-collection/test-s3",
    ]


def test_manifest_names_the_clusters_images() -> None:
    found = {holder["image"] for holder in holders(manifest("kafka", REFERENCES))}
    assert found == {"localhost:5000/test-kafka:1"}


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="data-collection/test-kafka"):
        manifest("kafka", {})


def test_values() -> None:
    assert values(REFERENCES)[2:] == [
        *("--set", "mongodb.image.repository=localhost:5000/test-mongodb"),
        *("--set", "mongodb.image.tag=1"),
    ]
