"""Tests on a real Kubernetes; `node/` starts one on this machine, `images/` stands in for what no registry has."""
