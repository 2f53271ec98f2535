"""skaffold.yaml and k8s/ name things that exist: the images, the chart and its values, the release, the services."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy import pods
from deploy.chart import CHART
from deploy.release import JOBS, LIGHT_VALUES, NAMESPACE, RELEASE
from deploy.stubs import FOR_SKAFFOLD, VALUES
from images.build import PROJECT, REPOSITORY, copied_paths

FIRST, MAIN = YAML(typ="safe").load_all(REPOSITORY / "skaffold.yaml")
BUILDAH = MAIN["profiles"][0]
HELM_RELEASE = MAIN["deploy"]["helm"]["releases"][0]
FOLDERS = sorted(file.parent.name for file in (REPOSITORY / "images").glob("*/Dockerfile"))


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def value_of(path: str) -> Any:
    node = load(CHART / "values.yaml")
    for key in path.split("."):
        node = node[key]
    return node


@pytest.mark.parametrize(
    "artifacts", [MAIN["build"]["artifacts"], BUILDAH["build"]["artifacts"]], ids=["docker", "buildah"]
)
def test_every_image_is_built(artifacts: list[dict[str, Any]]) -> None:
    assert sorted(artifact["image"] for artifact in artifacts) == [f"{PROJECT}/{folder}" for folder in FOLDERS]


@pytest.mark.parametrize("artifact", MAIN["build"]["artifacts"], ids=lambda artifact: artifact["image"])
def test_dockerfiles(artifact: dict[str, Any]) -> None:
    folder = artifact["image"].removeprefix(f"{PROJECT}/")
    assert artifact["docker"] == {"dockerfile": f"images/{folder}/Dockerfile"}


@pytest.mark.parametrize("artifact", BUILDAH["build"]["artifacts"], ids=lambda artifact: artifact["image"])
def test_what_a_dockerfile_copies_is_watched(artifact: dict[str, Any]) -> None:
    folder = artifact["image"].removeprefix(f"{PROJECT}/")
    assert artifact["custom"]["buildCommand"].endswith(f' --push-as "$IMAGE" {folder}')
    own = f"images/{folder}"
    sources = {path for path in copied_paths((REPOSITORY / own / "Dockerfile").read_text()) if not path.startswith(own)}
    watched = [Path(path) for path in artifact["custom"]["dependencies"]["paths"]]
    assert Path(own) in watched
    assert all(any(Path(path).is_relative_to(each) for each in watched) for path in sources)
    assert {str(path) for path in watched} <= {own, *sources}


def test_the_release_is_that_of_the_make_targets() -> None:
    assert (HELM_RELEASE["name"], HELM_RELEASE["namespace"]) == (RELEASE, NAMESPACE)
    assert REPOSITORY / HELM_RELEASE["chartPath"] == CHART
    assert [str(REPOSITORY / file) for file in HELM_RELEASE["valuesFiles"]] == [LIGHT_VALUES[1]]
    assert Path(LIGHT_VALUES[1]).is_file()


def test_the_namespace_is_that_of_the_make_targets() -> None:
    (file,) = FIRST["manifests"]["rawYaml"]
    assert load(REPOSITORY / file) == pods.namespace(NAMESPACE)
    (hook,) = FIRST["profiles"][0]["deploy"]["kubectl"]["hooks"]["after"]
    assert hook["host"]["command"][-1].endswith(f" -m deploy.stubs {NAMESPACE}")


def test_every_value_is_one_of_the_charts() -> None:
    expected = {f"{folder}.image.{part}" for folder in FOLDERS for part in ("repository", "tag")}
    assert set(HELM_RELEASE["setValueTemplates"]) == expected
    assert HELM_RELEASE["setValues"] == {f"{job}.upgradeMode": "last-state" for job in JOBS}
    for path in (*HELM_RELEASE["setValueTemplates"], *HELM_RELEASE["setValues"]):
        value_of(path)


def test_a_tag_may_have_a_digest() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    pattern = schema["definitions"]["image"]["properties"]["tag"]["pattern"]
    assert re.fullmatch(pattern, f"{64 * 'a'}@sha256:{64 * '0'}")
    assert not re.fullmatch(pattern, "a@")


def test_the_buildah_profile_installs_the_chart_beside_the_stubs() -> None:
    patched = [REPOSITORY / patch["value"] for patch in BUILDAH["patches"] if isinstance(patch["value"], str)]
    assert patched == [FOR_SKAFFOLD / CHART.name, VALUES, FOR_SKAFFOLD / "values.yaml"]


def test_forwarded_ports() -> None:
    forwarded = {each["resourceName"]: (each["port"], each["localPort"]) for each in MAIN["portForward"]}
    assert forwarded == {
        f"{RELEASE}-console": (8090, 8090),
        f"{RELEASE}-collector-rest": (8081, 8081),
        f"{RELEASE}-aggregator-rest": (8081, 8082),
        value_of("mongodb.service.name"): (27017, 27017),
    }
    assert {each["namespace"] for each in MAIN["portForward"]} == {NAMESPACE}


def test_kind_cluster_has_the_projects_name() -> None:
    assert load(REPOSITORY / "dev" / "kind.yaml")["name"] == PROJECT
