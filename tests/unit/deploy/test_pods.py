"""The objects that the project builds meet the Pod Security Standard `restricted`."""

from deploy import pods


def test_pod() -> None:
    built = pods.pod("p", "image", args=("a",), environment={"A": "1"}, port=80, health="/healthz")
    container = built["spec"]["containers"][0]
    assert built["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["args"] == ["a"]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": 80}
    assert built["spec"]["automountServiceAccountToken"] is False
    assert built["spec"]["enableServiceLinks"] is False


def test_pod_with_an_account() -> None:
    spec = pods.pod("p", "image", account="me")["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("me", True)
    assert "readinessProbe" not in spec["containers"][0]


def test_idle_pod_ends_at_once() -> None:
    spec = pods.idle_pod("p", "image")["spec"]
    assert spec["terminationGracePeriodSeconds"] == 0
    assert spec["containers"][0]["command"] == ["sleep", "infinity"]


def test_service_finds_the_pod() -> None:
    assert pods.service("p", 80)["spec"]["selector"] == pods.pod("p", "image")["metadata"]["labels"]


def test_namespace() -> None:
    labels = pods.namespace("n")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pods.MANAGED_NAMESPACE_LABEL in labels
