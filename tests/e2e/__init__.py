"""Tests on a real Kubernetes. dev/cluster runs one on this machine; dev/stubs has stubs of what no registry has."""
