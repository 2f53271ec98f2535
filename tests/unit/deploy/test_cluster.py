"""Which cluster is selected, and that no other cluster is used without its name."""

import pytest

from deploy.cluster import Cluster, ClusterError, Target, select_target

CONTEXTS = ["kind-dev", "minikube", "production"]


@pytest.mark.parametrize(
    ("named", "current", "registry", "target"),
    [
        ("", "", "", None),
        ("", "production", "", None),
        ("", "kind-dev", "", Target("kind-dev")),
        ("", "minikube", "", Target("minikube")),
        ("kind-dev", "production", "", Target("kind-dev")),
        ("production", "kind-dev", "localhost:5000", Target("production", "localhost:5000")),
        ("kind-dev", "", "localhost:5001", Target("kind-dev", "localhost:5001")),
    ],
)
def test_select_target(named: str, current: str, registry: str, target: Target | None) -> None:
    assert select_target(named, current, CONTEXTS, registry) == target


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"CONTEXT='staging': the kubeconfig has no such context .*production"):
        select_target("staging", "kind-dev", CONTEXTS, "")


def test_a_remote_cluster_needs_a_registry() -> None:
    with pytest.raises(ClusterError, match=r"set the registry from which .*IMAGE_REGISTRY="):
        select_target("production", "", CONTEXTS, "")


def test_name_of_a_kind_cluster() -> None:
    assert Target("kind-dev").kind == "dev"
    assert Target("minikube").kind is None


def test_kubectl_that_is_missing() -> None:
    cluster = Cluster(Target("kind-dev"), {"PATH": "/nonexistent"})
    with pytest.raises(ClusterError, match="kubectl cannot be started"):
        cluster.run("version")
