"""The limits of event time in milliseconds. The collector keeps them, and the aggregator relies on them."""

# The aggregator rejects a record whose event time is further ahead of its clock. The collector never writes a record
# ahead of its own clock. The limit is for other producers, and for feeds whose positions are times.
MAX_AHEAD_MS = 60_000
# A post keeps its own stamp if it is at most this much older than the newest heartbeat's event time.
MAX_BEHIND_MS = 30_000
# Between two heartbeats of a partition, the collector's posts advance event time by less than this + OUT_OF_ORDER_MS.
HEARTBEAT_STEP_MS = 5_000
# How much older than the newest post the posts behind it may be.
OUT_OF_ORDER_MS = 1_000
