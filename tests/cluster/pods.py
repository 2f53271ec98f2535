"""Builds the Kubernetes objects of the tests: pods as PodSecurity `restricted` wants them, and a namespace with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from local.cluster import Object

MANIFESTS = Path(__file__).parent / "manifests"
OURS = "data-collection.test"  # label of the namespaces that the tests made and may delete


def namespace(name: str) -> Object:
    """A namespace in which no pod runs that breaks PodSecurity `restricted`."""
    labels = {OURS: "true", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(
    name: str,
    image: str,
    *,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    health: str | None = None,
    account: str | None = None,
    memory: str = "256Mi",
) -> Object:
    """A pod with a read-only root and an empty /tmp; `health`: the path that answers on `port` once it is Ready."""
    container: Object = {
        "name": name,
        "image": image,
        **({"command": list(command)} if command else {}),
        "args": list(args),
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        "resources": {"requests": {"cpu": "50m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    if port is not None:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"httpGet": {"path": health, "port": port}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": account is not None,
            **({"serviceAccountName": account} if account else {}),
            # A Service's name would become variables such as SIMULATOR_PORT, which are settings.
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 60,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def idle_pod(name: str, image: str, memory: str = "256Mi") -> Object:
    """A pod that does nothing, for commands to run in."""
    idle = pod(name, image, command=("sleep", "infinity"), memory=memory)
    idle["spec"]["terminationGracePeriodSeconds"] = 0
    return idle


def service(name: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def manifest(name: str, images: Mapping[str, str]) -> list[Object]:
    """The objects of a manifest, each image named in it replaced by its reference in the cluster."""
    objects = list(YAML(typ="safe").load_all(MANIFESTS / f"{name}.yaml"))
    for holder in holders(objects):
        holder["image"] = images[re.sub(r"^localhost:5000/|:[^/]*$", "", holder["image"])]
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
