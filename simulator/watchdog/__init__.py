"""The watchdog: a kopf operator that restarts the simulator when needed.

main: the kopf handlers, which delegate
reconciler: the control loop, which brings the others together
policy: when a restart is due, and when it is suppressed; pure
resources: reads and builds Kubernetes objects; pure
watch_cache: the objects that the watches have delivered, and whether a watch is stale
clients: to the Kubernetes API, the simulator and Kafka
metrics, settings
"""
