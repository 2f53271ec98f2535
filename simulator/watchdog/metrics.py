"""The watchdog's metrics for Prometheus."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, start_http_server

from simulator.listening import every_address
from simulator.watchdog.policy import RestartReason, SuppressReason

RESTARTS = Counter("simulator_restarts", "Restarts of the simulator", ["reason"])
SUPPRESSED = Counter(
    "simulator_restarts_suppressed", "Restarts that were due and were suppressed", ["reason", "held_by"]
)
FLOW_AGE = Gauge("simulator_flow_age_seconds", "Seconds since the topic was last seen to grow")
WATCH_AGE = Gauge("simulator_watch_age_seconds", "Seconds since all watches were last known to match the API")


def serve(port: int, flow_age: Callable[[], float], watch_age: Callable[[], float]) -> None:
    """Serve the metrics on every address of this host, in a daemon thread. Raises OSError when the port is taken.

    flow_age, watch_age: functions that return the gauges' values in seconds.
    """
    for reason in RestartReason:
        RESTARTS.labels(reason)
        for held_by in SuppressReason:
            SUPPRESSED.labels(reason, held_by)
    FLOW_AGE.set_function(flow_age)
    WATCH_AGE.set_function(watch_age)
    start_http_server(port, addr=every_address())
