"""The chart's templates: unit tests, every documented combination of values before a real API server, its schema.

The API server refuses unknown fields and wrong values by the schemas that kubeconform would read, and by more rules.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deploy.chart import CHART, copy_without_dependencies
from deploy.cluster import Cluster, ClusterError, Object
from deploy.manifests import FOLDER, render
from deploy.release import JOBS
from local.settings import REPOSITORY
from tests.e2e import prometheus, strimzi
from tests.e2e.conftest import Place

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))
# The Flink operator whose definitions are there knows no newer one.
FLINK = ("--set", "flink.version=v1_19")
KUBERNETES = ("--kube-version", "1.34.0")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_without_dependencies(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="module")
def defined(parts: Place) -> Iterator[Place]:
    """The namespace of the tests, on a cluster that knows the kinds of Strimzi and of the Prometheus operator."""
    definitions = [*strimzi.definitions(REPOSITORY / ".state" / "tests" / "jars"), *prometheus.definitions()]
    parts.cluster.apply(definitions, parts.namespace)
    yield parts
    parts.cluster.delete(
        "customresourcedefinition", parts.namespace, *(each["metadata"]["name"] for each in definitions)
    )


def test_unit_tests(cluster: Cluster, chart: Path) -> None:
    cluster.program("helm-unittest", "--file", "tests/*/*_test.yaml", str(chart), seconds=120)


@pytest.mark.parametrize("values", COMBINATIONS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_takes_every_combination(defined: Place, chart: Path, values: Path) -> None:
    arguments = ("template", "demo", str(chart), "--values", str(values), *KUBERNETES, *FLINK)
    objects, of_helm4 = (rendered(defined.cluster.program(helm, *arguments)) for helm in ("helm", "helm4"))
    assert of_helm4 == objects
    assert len(objects) > 10
    dry_run(defined, objects)


def dry_run(place: Place, objects: list[Object]) -> None:
    """Let the API server check the objects without keeping them; it refuses fields that it does not know."""
    for each in objects:
        each.get("metadata", {}).pop("namespace", None)
    place.cluster.apply(objects, place.namespace, dry_run=True)


def rendered(text: str) -> list[Object]:
    """The objects in an order that does not depend on Helm, and one word for passwords, which are new each time."""
    objects = YAML(typ="safe").load_all(re.sub(r"[A-Za-z0-9]{32}(?=\s|@)", "password", text))
    return sorted((each for each in objects if each), key=lambda each: (each["kind"], each["metadata"]["name"]))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("colector.enabled=false", "colector"),
        ("collector.settings.CHECKPOINT_SECOND=1", "CHECKPOINT_SECOND"),
        ("collector.settings.CHECKPOINT_SECONDS=0", "/collector/settings/CHECKPOINT_SECONDS"),
        ("kafka.mode=confluent", "/kafka/mode"),
        ("mongodb.mode=atlas", "/mongodb/mode"),
        ("flink.version=1.20", "/flink/version"),
        ("simulator.settings.SIMULATOR_RATE=-1", "/simulator/settings/SIMULATOR_RATE"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(cluster: Cluster, chart: Path, setting: str, told: str) -> None:
    with pytest.raises(ClusterError, match="schema") as error:
        cluster.program("helm", "template", "demo", str(chart), "--set", setting, *KUBERNETES)
    assert told.replace("/", "") in re.sub(r"[/.]", "", str(error.value))


@pytest.mark.parametrize("job", JOBS)
def test_plain_manifests_are_the_charts(cluster: Cluster, job: str) -> None:
    assert (FOLDER / f"{job}.yaml").read_text() == render(job, cluster.environment), "run make manifests"


def test_strimzi_is_the_charts(chart: Path) -> None:
    dependencies = YAML(typ="safe").load(chart / "Chart.yaml")["dependencies"]
    version = next(each["version"] for each in dependencies if each["name"] == "strimzi-kafka-operator")
    assert f"<strimzi.version>{version}</strimzi.version>" in strimzi.POM.read_text()
