"""The watchdog's metrics for Prometheus."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, start_http_server

from simulator.listening import every_address
from simulator.watchdog.policy import RestartReason, SuppressReason

RESTARTS = Counter("simulator_restarts", "Restarts of the simulator", ["reason"])
SUPPRESSED = Counter("simulator_restarts_suppressed", "Restarts that were held back", ["reason", "held_by"])
FLOW_AGE = Gauge("simulator_flow_age_seconds", "Since the topic was last seen to grow")
WATCH_AGE = Gauge("simulator_watch_age_seconds", "Since the watches were last known to show what the API has")


def serve(port: int, flow_age: Callable[[], float], watch_age: Callable[[], float]) -> None:
    """Serve them on every address, in a thread that ends with the process. Raises OSError."""
    for cause in RestartReason:
        RESTARTS.labels(cause)
        for hold in SuppressReason:
            SUPPRESSED.labels(cause, hold)
    FLOW_AGE.set_function(flow_age)
    WATCH_AGE.set_function(watch_age)
    start_http_server(port, addr=every_address())
