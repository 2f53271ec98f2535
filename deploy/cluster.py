"""Selects the Kubernetes cluster to deploy to, loads images into it, and runs kubectl on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from images.build import REPOSITORY, Engine, Image, build, choose_engine, exit_status, push, save

Object = dict[str, Any]

NODE_SCRIPTS = REPOSITORY / "dev" / "cluster"
UP_SECONDS = 3600  # when nothing is built yet; Go builds take most of it
LOAD_SECONDS = 600


class ClusterError(RuntimeError):
    """The cluster cannot be used, or a command on it failed. The text is for the user."""


class NoClusterError(ClusterError):
    """The project's test cluster does not run."""


@dataclass(frozen=True)
class Target:
    """A cluster to deploy to."""

    context: str  # of the kubeconfig
    registry: str | None = (
        None  # from which the nodes pull; None: archives are loaded into the nodes of kind or minikube
    )
    is_test_cluster: bool = False  # the project's own, which dev/cluster builds and runs

    @property
    def kind(self) -> str | None:
        """The name of the kind cluster, or None for another cluster."""
        return self.context.removeprefix("kind-") if self.context.startswith("kind-") else None


def select_target(named: str, current: str, contexts: Sequence[str], registry: str) -> Target | None:
    """Select the user's cluster; None means the project's test cluster.

    named: the setting CONTEXT, or ""
    current: the kubeconfig's current context, or ""
    contexts: all contexts of the kubeconfig
    registry: the setting IMAGE_REGISTRY, or ""

    A current context is used only when it is a kind or minikube cluster. Any other cluster has to be named.
    Raises ClusterError.
    """
    if named and named not in contexts:
        there = ", ".join(contexts) or "none"
        raise ClusterError(f"CONTEXT={named!r}: the kubeconfig has no such context (it has: {there})")
    local = current if current.startswith("kind-") or current == "minikube" else ""
    context = named or local
    if not context:
        return None
    if not registry and not context.startswith("kind-") and context != "minikube":
        raise ClusterError(
            f"CONTEXT={context!r}: set the registry from which its nodes pull, such as IMAGE_REGISTRY=localhost:5000"
        )
    return Target(context, registry or None)


@dataclass(frozen=True)
class Cluster:
    """kubectl on one cluster. A call that fails or takes too long raises ClusterError with the output of kubectl."""

    target: Target
    environment: Mapping[str, str] = field(repr=False)

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        return self.program("kubectl", "--context", self.target.context, *arguments, stdin=stdin, seconds=seconds)

    def program(self, *command: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl, helm or another program with the cluster's environment; returns its standard output."""
        return run_program(command, self.environment, stdin=stdin, seconds=seconds)

    def apply(self, objects: Iterable[Object], namespace: str, *, dry_run: bool = False) -> None:
        """Create or change objects. With `dry_run` the API server only checks them.

        Server-side, since some CRDs are too large for kubectl's annotation.
        """
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        flags = ["--dry-run=server"] if dry_run else []
        self.run("apply", "--server-side", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """The object, or None when it does not exist."""
        found = self.run("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return dict(json.loads(found)) if found.strip() else None

    def list(self, resources: str, namespace: str, selector: str = "") -> list[Object]:
        """The objects of these resource types ("deployments,jobs") that a label selector selects."""
        found = self.run("get", resources, "-n", namespace, "-l", selector, "-o", "json")
        return list(json.loads(found)["items"])

    def delete(self, resources: str, namespace: str, *names: str, seconds: float = 120) -> None:
        """Delete the named objects, or all objects of these resource types, and wait until they are gone."""
        which = names or ("--all",)
        limit = f"--timeout={seconds:g}s"
        self.run("delete", resources, *which, "-n", namespace, "--ignore-not-found", limit, seconds=seconds + 10)

    def await_condition(self, what: str, condition: str, namespace: str, seconds: float) -> None:
        """Wait for a condition of an object such as `job/NAME`. The error has the namespace's last events."""
        limit = f"--timeout={seconds:g}s"
        try:
            self.run("wait", f"--for=condition={condition}", what, "-n", namespace, limit, seconds=seconds + 10)
        except ClusterError as error:
            events = self.run("get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
            raise ClusterError(f"{error}\n{events[-2000:]}") from None

    def remove_now(self, pod: str, namespace: str) -> None:
        """Delete a pod without a grace period, as if its node had failed."""
        self.run("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")

    def execute(self, pod: str, namespace: str, *command: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run a command in a pod; returns its standard output."""
        flags = ["-i"] if stdin is not None else []
        return self.run("exec", pod, "-n", namespace, *flags, "--", *command, stdin=stdin, seconds=seconds)

    def http(self, pod: str, port: int, path: str, namespace: str) -> str:
        """The answer to a GET to a pod, through the API server's proxy."""
        return self.run("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")


def run_program(
    command: Sequence[str], environment: Mapping[str, str], *, stdin: str | None = None, seconds: float = 60
) -> str:
    """The standard output of a program. Raises ClusterError, with its output, when it fails or takes too long."""
    shown = " ".join(command[:6])
    try:
        result = subprocess.run(
            command,
            env=dict(environment),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be started: {error}") from error
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{shown}: no answer within {seconds:g} s") from None
    if result.returncode != 0:
        raise ClusterError(f"{shown}: {(result.stderr.strip() or result.stdout.strip())[-1000:]}")
    return result.stdout


def connect(environment: Mapping[str, str] = os.environ, *, start: bool = True) -> Cluster:
    """The selected cluster, once its API server answers. Raises ClusterError.

    start: start the project's test cluster when that is the selected one and it does not run.
    """
    named, registry = environment.get("CONTEXT", ""), environment.get("IMAGE_REGISTRY", "")
    current = (try_output(["kubectl", "config", "current-context"]) or "").strip()
    contexts = (try_output(["kubectl", "config", "get-contexts", "-o", "name"]) or "").split()
    target = select_target(named, current, contexts, registry)
    if target is None:
        if current and current != read_cluster_settings().context:
            sys.stderr.write(f"context {current} is not used: set CONTEXT={current} to use it\n")
        if start:
            start_test_cluster()
        return connect_test_cluster(environment)
    cluster = Cluster(target, dict(environment))
    cluster.run("get", "--raw=/readyz", "--request-timeout=10s", seconds=15)
    return cluster


def start_test_cluster() -> None:
    """Build what is missing of the project's test cluster and start it. The scripts print their progress."""
    for command in (["build.sh", "helm"], ["up.sh"]):
        try:
            result = subprocess.run(
                [NODE_SCRIPTS / command[0], *command[1:]], stdin=subprocess.DEVNULL, check=False, timeout=UP_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"the test cluster was not up within {UP_SECONDS} s") from None
        if result.returncode != 0:
            raise ClusterError("the test cluster could not be started (see above)")


def connect_test_cluster(environment: Mapping[str, str]) -> Cluster:
    """The project's test cluster, which must already run. Raises NoClusterError, or ClusterError."""
    settings = read_cluster_settings()
    variables = {**env_with_tools(environment), "KUBECONFIG": settings.kubeconfig}
    cluster = Cluster(Target(settings.context, settings.registry, is_test_cluster=True), variables)
    try:
        cluster.run("get", "--raw=/readyz", "--request-timeout=10s", seconds=15)
    except ClusterError:
        raise NoClusterError("no cluster runs: make docker_up") from None
    return cluster


def env_with_tools(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment, with a PATH that also has kubectl and helm as dev/cluster builds them. Raises ClusterError."""
    return {**environment, "PATH": f"{environment['PATH']}:{read_cluster_settings().programs}"}


class ClusterSettings(NamedTuple):
    """Settings of the project's test cluster."""

    kubeconfig: str  # path
    programs: str  # folder of the programs that dev/cluster builds
    context: str
    registry: str  # host:port


def read_cluster_settings() -> ClusterSettings:
    """Read the settings from dev/cluster/settings.sh. Raises ClusterError."""
    script = '. "$0/settings.sh"; printf "%s\\n" "$KUBECONFIG" "$BIN" "$CLUSTER_NAME" "localhost:$REGISTRY_PORT"'
    printed = try_output(["bash", "-c", script, str(NODE_SCRIPTS)])
    if printed is None:
        raise ClusterError(f"the settings in {NODE_SCRIPTS} cannot be read")
    return ClusterSettings(*printed.splitlines())


def try_output(command: Sequence[str]) -> str | None:
    """The standard output of a command, or None when it fails or does not exist."""
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=15
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def build_and_load_images(cluster: Cluster, images: Sequence[Image]) -> dict[str, str]:
    """Build the images that are missing and bring all to the cluster; returns {name of an image: its reference there}.

    Raises BuildError or ClusterError.
    """
    engine = choose_engine(exit_status)
    target = cluster.target
    references = {}
    for image in images:
        build(engine, image)
        if target.registry:
            push(engine, image, target.registry)
            references[image.name] = image.reference(target.registry)
        else:
            load_into_nodes(engine, image, target)
            references[image.name] = image.reference()
    return references


def load_into_nodes(engine: Engine, image: Image, target: Target) -> None:
    """Load an image into the nodes of kind or minikube. An archive works with every engine. Raises ClusterError."""
    archive = save(engine, image)
    command = (
        ["kind", "load", "image-archive", str(archive), "--name", target.kind]
        if target.kind
        else ["minikube", "image", "load", str(archive)]
    )
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LOAD_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"{image.name} cannot be loaded: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    if result.returncode != 0:
        raise ClusterError(f"{image.name} cannot be loaded: {result.stderr.strip()[-400:]}")
