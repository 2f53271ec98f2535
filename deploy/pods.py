"""Builds pods that the Pod Security Standard `restricted` admits, and a namespace that enforces it."""

from collections.abc import Mapping, Sequence

from deploy.cluster import Object

MANAGED_NAMESPACE_LABEL = "data-collection.namespace"  # on namespaces that this project created and may delete


def namespace(name: str) -> Object:
    """A namespace that enforces the Pod Security Standard `restricted`."""
    labels = {MANAGED_NAMESPACE_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
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
    """A pod with one container, a read-only root file system and an empty /tmp.

    health: path of the readiness probe on `port`
    account: ServiceAccount; without one, no token is mounted
    memory: request and limit
    """
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
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod alone
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
            # The link of the Service `simulator` would be the variable SIMULATOR_PORT, which is a setting.
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 60,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def idle_pod(name: str, image: str, memory: str = "256Mi") -> Object:
    """A pod that sleeps, for commands to be executed in."""
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
