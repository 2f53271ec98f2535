"""Tests on Kubernetes. dev/cluster runs it on this machine; dev/stubs has stubs of images that no registry has."""
