"""The Prometheus operator's resource definitions, from its Go module: a real API server checks the chart by them."""

import json
import os
from pathlib import Path

from ruamel.yaml import YAML

from deploy.cluster import Object, run_program

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KINDS = ("podmonitors", "prometheusrules")


def definitions() -> list[Object]:
    """The definitions of the kinds that the chart makes. Raises ClusterError."""
    told = run_program(["go", "mod", "download", "-json", MODULE], os.environ, seconds=120)
    folder = Path(json.loads(told)["Dir"]) / "example" / "prometheus-operator-crd"
    yaml = YAML(typ="safe")
    return [yaml.load(folder / f"monitoring.coreos.com_{kind}.yaml") for kind in KINDS]
