"""Builds Kubernetes objects: pods as PodSecurity `restricted` wants them, and a namespace with it."""

from collections.abc import Mapping, Sequence

from deploy.cluster import Object

OURS = "data-collection.namespace"  # label of the namespaces that this project made and may delete


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
