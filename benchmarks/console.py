"""What the live page costs, and how old it is: `MINUTES=20 python -m benchmarks.console`, with the demo's settings.

Starts the whole demo at SIMULATOR_RATE (1,000 posts/s by default) and three clients that read the page's events as a
browser does. Prints the console's memory, its slope, its share of a core, and how long after it could be read in Kafka
or in MongoDB something was on the page.
"""

import contextlib
import json
import os
import re
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_END
from pymongo.collection import Collection

from benchmarks import topics
from benchmarks.live_page import CLIENTS, follow
from benchmarks.machine import TICKS, parse_process
from benchmarks.numbers import percentile
from benchmarks.run import status_of
from jobs.defaults import TWEETS_TOPIC
from jobs.settings import EnvReader
from local.settings import Settings, read_settings
from local.stack import Stack
from local.store import client, collection

RATE = "1000"
WARM_UP_SECONDS = 90.0  # until the page has its first documents and its lines begin
SAMPLE_SECONDS = 1.0
# Posts become readable with a transaction: a pause is before the first one of the next transaction.
PAUSE_SECONDS = 0.3
POSITION = re.compile(r" \w+/(\d+)</span>")
WINDOW = re.compile(r'<th scope="row">([^<]+)</th>')


class Freshness:
    """When something could be read, and when it was on the page."""

    def __init__(self) -> None:
        self.posts: list[float] = []  # seconds
        self.documents: list[float] = []  # seconds
        self._bursts: deque[tuple[float, int]] = deque(maxlen=1_000)  # of posts: since when, and the lowest number
        self._windows: deque[tuple[float, str]] = deque(maxlen=1_000)
        self._lock = threading.Lock()

    def post(self, number: int, now: float, *, first: bool) -> None:
        """A post can be read. first: of its transaction."""
        with self._lock:
            if first:
                self._bursts.append((now, number))

    def document(self, end: str, now: float) -> None:
        """A document can be read, and it is the newest."""
        with self._lock:
            self._windows.append((now, end))

    def sections(self, sections: dict[str, str], now: float) -> None:
        """The page shows these sections."""
        newest = max(map(int, POSITION.findall(sections.get("posts", ""))), default=-1)
        window = max(WINDOW.findall(sections.get("documents", "")), default="")
        with self._lock:
            while self._bursts and self._bursts[0][1] <= newest:
                self.posts.append(now - self._bursts.popleft()[0])
            while self._windows and self._windows[0][1] <= window:
                self.documents.append(now - self._windows.popleft()[0])


def main() -> None:
    minutes = EnvReader(os.environ).integer("MINUTES", 5, 1, 1_440)
    settings = read_settings({"SIMULATOR_RATE": RATE, **os.environ})
    with Stack(settings) as stack:
        stack.start(demo=True)
        measure(stack, minutes * 60.0)


def measure(stack: Stack, seconds: float) -> None:
    settings, fresh, stop = stack.settings, Freshness(), threading.Event()
    works: list[Callable[[], object]] = [lambda: watch_topic(settings, fresh, stop)]
    works += [lambda: watch_documents(settings, fresh, stop)]
    works += [lambda: follow(settings.console_url, stop, lambda shown: fresh.sections(shown, time.time()))]
    works += [lambda: follow(settings.console_url, stop)] * (CLIENTS - 1)
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP_SECONDS)
    fresh.posts.clear()
    fresh.documents.clear()
    began, before = time.monotonic(), cpu_seconds(stack.console.pid)
    memory: list[tuple[float, float]] = []
    while (now := time.monotonic() - began) < seconds:
        memory.append((now, resident_bytes(stack.console.pid)))
        if len(memory) % 60 == 0:
            report(f"after {now / 60:.0f} min", memory, cpu_seconds(stack.console.pid) - before, now, fresh)
        time.sleep(SAMPLE_SECONDS)
    stop.set()
    for thread in threads:  # before the stack stops
        thread.join(15.0)
    report(
        f"{settings.rate:,.0f} posts/s, {CLIENTS} clients", memory, cpu_seconds(stack.console.pid) - before, now, fresh
    )


def report(what: str, memory: Sequence[tuple[float, float]], cpu: float, seconds: float, fresh: Freshness) -> None:
    at, size = zip(*memory, strict=True)
    slope = statistics.linear_regression(at, size).slope * 3_600
    print(  # noqa: T201 - the result
        f"{what}: resident {statistics.median(size) / 1e6:.1f} MB (most {max(size) / 1e6:.1f}), "
        f"slope {slope / 1e6:+.2f} MB/h; {cpu / seconds:.1%} of a core; "
        f"posts {quantiles(fresh.posts)}; documents {quantiles(fresh.documents)}",
        flush=True,
    )


def quantiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "unknown"
    return f"p50 {percentile(values, 50):.2f} s, p99 {percentile(values, 99):.2f} s of {len(values)}"


def cpu_seconds(pid: int) -> float:
    return parse_process(Path(f"/proc/{pid}/stat").read_text()).own / TICKS


def resident_bytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def watch_topic(settings: Settings, fresh: Freshness, stop: threading.Event) -> None:
    """Note when posts can be read."""
    with contextlib.closing(topics.reader(settings.kafka, "read_committed")) as consumer:
        consumer.assign(topics.partitions(TWEETS_TOPIC, OFFSET_END))
        last = 0.0
        while not stop.is_set():
            message = consumer.poll(0.5)
            now = time.time()
            if message is None or message.error():
                continue
            post = json.loads(message.value() or b"{}")
            if post.get("text") is not None and post.get("position"):
                fresh.post(int(post["position"].rpartition("/")[2]), now, first=now - last > PAUSE_SECONDS)
                last = now


def watch_documents(settings: Settings, fresh: Freshness, stop: threading.Event) -> None:
    """Note when documents can be read."""
    newest = ""
    with client(settings.store_uri) as connection:
        for end in ends(collection(connection), stop):
            if end > newest:
                newest = end
                fresh.document(end, time.time())


def ends(documents: Collection[dict[str, Any]], stop: threading.Event) -> Iterator[str]:
    while not stop.is_set():
        for document in documents.find({}, {"timestamp": 1}).sort("timestamp", -1).limit(1):
            yield document["timestamp"]
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(status_of(main))
