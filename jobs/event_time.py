"""The limits of event time, in milliseconds: what the collector promises and what the aggregator relies on."""

# The aggregator rejects a record that is stamped further ahead of its clock than this. The collector itself never
# writes a record ahead of its own clock; the limit is for other producers, and for a feed's positions that are times.
MAX_AHEAD_MS = 60_000
# A post keeps its own stamp while it is at most this much older than the promise, the newest heartbeat's event time.
MAX_BEHIND_MS = 30_000
# Between two heartbeats of a partition the collector's posts advance event time by less than this and OUT_OF_ORDER_MS.
HEARTBEAT_STEP_MS = 5_000
# How much older than the newest post the following ones may be.
OUT_OF_ORDER_MS = 1_000
