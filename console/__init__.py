"""The console: one read-only web page that shows whether the pipeline is alive, complete and right.

sources/ reads Flink, Kafka, MongoDB and the watchdog. observations.py holds what they report, history.py the last
minutes and the last day of it. view.py turns both into what the page shows, page.py into HTML, server.py sends it.
"""
