"""The templates and the schema of the chart: unit tests, and each values file of `ci/` checked by an API server.

The API server rejects unknown fields and wrong values, as kubeconform does, and has further rules.
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
from tests.e2e.conftest import ClusterNamespace

VALUES_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
# The newest version that the CRDs of the installed Flink operator accept.
FLINK = ("--set", "flink.version=v1_19")
KUBERNETES = ("--kube-version", "1.34.0")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_without_dependencies(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="module")
def namespace_with_crds(namespace_with_stubs: ClusterNamespace) -> Iterator[ClusterNamespace]:
    """The namespace, in a cluster with the CRDs of Strimzi and of the Prometheus operator."""
    namespace = namespace_with_stubs
    crds = [*strimzi.crds(REPOSITORY / ".state" / "tests" / "jars"), *prometheus.crds()]
    namespace.cluster.apply(crds, namespace.name)
    yield namespace
    namespace.cluster.delete("customresourcedefinition", namespace.name, *(each["metadata"]["name"] for each in crds))


def test_the_charts_unit_tests_pass(cluster: Cluster, chart: Path) -> None:
    cluster.program("helm-unittest", "--file", "tests/*/*_test.yaml", str(chart), seconds=120)


@pytest.mark.parametrize("values", VALUES_FILES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_accepts_every_values_file(
    namespace_with_crds: ClusterNamespace, chart: Path, values: Path
) -> None:
    arguments = ("template", "demo", str(chart), "--values", str(values), *KUBERNETES, *FLINK)
    objects, objects_of_helm4 = (
        rendered(namespace_with_crds.cluster.program(helm, *arguments)) for helm in ("helm", "helm4")
    )
    assert objects_of_helm4 == objects
    assert len(objects) > 10
    dry_run(namespace_with_crds, objects)


@pytest.mark.parametrize("values", VALUES_FILES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_no_secret_has_a_name_under_which_strimzi_writes_one(cluster: Cluster, chart: Path, values: Path) -> None:
    """Strimzi replaces a Secret with the name of a KafkaUser: it writes that user's password there."""
    objects = rendered(cluster.program("helm", "template", "demo", str(chart), "--values", str(values), *KUBERNETES))
    secrets, users = (
        {each["metadata"]["name"] for each in objects if each["kind"] == kind} for kind in ("Secret", "KafkaUser")
    )
    assert secrets
    assert not secrets & users


def dry_run(namespace: ClusterNamespace, objects: list[Object]) -> None:
    """Let the API server check the objects without storing them. It rejects unknown fields."""
    for each in objects:
        each.get("metadata", {}).pop("namespace", None)
    namespace.cluster.apply(objects, namespace.name, dry_run=True)


def rendered(text: str) -> list[Object]:
    """The objects, sorted, since the order depends on Helm. Passwords are random and become the same word."""
    objects = YAML(typ="safe").load_all(re.sub(r"[A-Za-z0-9]{32}(?=\s|@)", "password", text))
    return sorted((each for each in objects if each), key=lambda each: (each["kind"], each["metadata"]["name"]))


@pytest.mark.parametrize(
    ("setting", "path"),
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
def test_the_schema_rejects_a_wrong_value_and_names_its_path(
    cluster: Cluster, chart: Path, setting: str, path: str
) -> None:
    with pytest.raises(ClusterError, match="schema") as error:
        cluster.program("helm", "template", "demo", str(chart), "--set", setting, *KUBERNETES)
    assert path.replace("/", "") in re.sub(r"[/.]", "", str(error.value))


@pytest.mark.parametrize("job", JOBS)
def test_the_manifests_in_k8s_are_rendered_from_the_chart(cluster: Cluster, job: str) -> None:
    assert (FOLDER / f"{job}.yaml").read_text() == render(job, cluster.environment), "run make manifests"


def test_strimzis_crds_have_the_version_of_the_chart(chart: Path) -> None:
    dependencies = YAML(typ="safe").load(chart / "Chart.yaml")["dependencies"]
    version = next(each["version"] for each in dependencies if each["name"] == "strimzi-kafka-operator")
    assert f"<strimzi.version>{version}</strimzi.version>" in strimzi.POM.read_text()
