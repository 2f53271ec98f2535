"""The CRDs of the Prometheus operator, from its Go module. With them, an API server checks the chart."""

import json
import os
from pathlib import Path

from ruamel.yaml import YAML

from deploy.cluster import Object, run_program

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
RESOURCES = ("podmonitors", "prometheusrules")


def crds() -> list[Object]:
    """The CRDs of the resources that the chart has. Raises ClusterError."""
    output = run_program(["go", "mod", "download", "-json", MODULE], os.environ, seconds=120)
    folder = Path(json.loads(output)["Dir"]) / "example" / "prometheus-operator-crd"
    yaml = YAML(typ="safe")
    return [yaml.load(folder / f"monitoring.coreos.com_{resource}.yaml") for resource in RESOURCES]
