#!/bin/sh
# Flink on Kubernetes starts every pod with this path (its option kubernetes.entry.path) and the command as arguments.
exec "$@"
