"""The case `console`: the collector's rate while the live page is open, against the rate without the console.

One job runs through. The console and its clients are there in every other slice of time.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator

import requests

from benchmarks import latency, topics
from benchmarks.bench import Bench, busy_note
from benchmarks.numbers import Measurement, Steady, summary

CLIENTS = 3
PACED = 10_000  # posts a second
SLICE_SECONDS = 8.0
SETTLE_SECONDS = 2.0  # before each slice
WARM_UP_SECONDS = 15.0
OPEN, CLOSED = "page open", "no console"


def run(bench: Bench) -> None:
    bench.restart_simulator({"SIMULATOR_RATE": str(PACED)})
    compare(bench, "console-paced", latency.live(bench))
    compare(bench, "console-full-speed", f"{latency.live(bench)}/?since=0&format=json")


def compare(bench: Bench, name: str, url: str) -> None:
    """Measure slices with and without the page in turn, and print the result."""
    bench.say(f"\n{name}: {bench.rounds} rounds of {SLICE_SECONDS:g} s each, {CLIENTS} clients of the live page")
    found: dict[str, list[Measurement]] = {CLOSED: [], OPEN: []}
    with topics.topic(bench.stack.settings.kafka, name) as topic:
        environment = {"WEBSOCKET_URL": url, "KAFKA_TOPIC": topic}
        with bench.job("collector_stream", environment):
            time.sleep(WARM_UP_SECONDS)
            for number in range(bench.rounds):
                for side in sorted(found, reverse=number % 2 == 1):
                    with page(bench, topic) if side == OPEN else contextlib.nullcontext():
                        measured, others = bench.measure(lambda name: measure(bench, name), topic)
                    found[side].append(measured)
                    bench.say(
                        f"  round {number + 1}  {side:<10} {measured.rate:10,.0f} posts/s"
                        f" {measured.cpu:7.2f} cpu s per million{busy_note(others)}"
                    )
    bench.result(name, summary(OPEN, found, {}))


def measure(bench: Bench, topic: str) -> Measurement:
    """What the job does in a slice of time. The processor time is that of the job, without the console's."""
    time.sleep(SETTLE_SECONDS)
    # Records count once the broker has them: what is committed moves only at checkpoints.
    consumer = topics.reader(bench.stack.settings.kafka, "read_uncommitted")
    with contextlib.closing(consumer), bench.cpu_of_jobs() as cpu:
        before, begin = topics.records(consumer, topic), time.time()
        time.sleep(SLICE_SECONDS)
        after, end = topics.records(consumer, topic), time.time()
    return Measurement(after - before, end - begin, cpu.seconds(Steady(begin, end, 1)))


@contextlib.contextmanager
def page(bench: Bench, topic: str) -> Iterator[None]:
    """The console with its clients."""
    stack = bench.stack
    stack.start_console({"KAFKA_TOPIC": topic})
    stop = threading.Event()
    clients = [threading.Thread(target=follow, args=(stack.settings.console_url, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()
        stack.console.stop()


def follow(url: str, stop: threading.Event, show: Callable[[dict[str, str]], object] = lambda _: None) -> None:
    """Read the page's events as a browser does, until `stop` is set. url: of the page. show: gets the sections."""
    while not stop.is_set():
        with (
            contextlib.suppress(requests.RequestException),  # a browser connects again
            requests.get(f"{url}/events", stream=True, timeout=10) as response,
        ):
            for line in response.iter_lines(chunk_size=None):
                if line.startswith(b"data: "):
                    show(json.loads(line[6:]))
                if stop.is_set():
                    return
