"""The watchdog that restarts the simulator when needed.

`main` is the table of triggers, `decisions` says when a restart is due and when it is held back. Around them are
`settings`, `objects` (what Kubernetes' objects say), `watched` (what the watches have shown), `clients` (to Kubernetes,
the simulator and Kafka), `metrics`, and `rounds`, which brings them together.
"""
