import asyncio
import contextlib
import errno
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from simulator.posts import PostSchedule, feed_id, post_text
from simulator.twitter_stream_simulator import BadRequest, Settings, Simulator, StreamRequest, parse_request

ROOT = Path(__file__).parents[3]
SCRIPT = str(ROOT / "simulator" / "twitter_stream_simulator.py")
EPOCH = 1_000_000.0
RATE = 1000.0
FEED = feed_id(EPOCH, RATE, 1)
EVERYTHING = {"SIMULATOR_RATE": "100000", "SIMULATOR_EPOCH": "0"}  # a backlog that nobody reads to the end


class Clock:
    """A clock that stands still until a test sets it, by the number of the newest post, and counts its readers."""

    def __init__(self, newest: int, rate: float = RATE) -> None:
        self.rate = rate
        self.reads = 0
        self.set(newest)

    def set(self, newest: float) -> None:
        self.now = EPOCH + (newest + 0.5) / self.rate

    def __call__(self) -> float:
        self.reads += 1
        return self.now


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, timeout=15))


@contextlib.asynccontextmanager
async def simulator(clock: Clock, stop_after: int = 0) -> AsyncIterator[Simulator]:
    settings = Settings(host="127.0.0.1", port=0, rate=clock.rate, epoch=EPOCH, stop_after=stop_after)
    async with Simulator(settings, clock) as running:
        yield running


def stream(port: int, query: str = "") -> connect:
    # A client that leaves with frames unread has paused reading, and would wait for the server's close in vain.
    return connect(f"ws://127.0.0.1:{port}/{query}", proxy=None, close_timeout=0.2)


async def receive(client: ClientConnection, count: int) -> list[str]:
    frames = [await client.recv() for _ in range(count)]
    assert all(isinstance(frame, str) for frame in frames)  # text frames
    return [str(frame) for frame in frames]


async def receive_numbers(client: ClientConnection, count: int) -> list[int]:
    return [json.loads(frame)["seq"] for frame in await receive(client, count)]


def get(port: int, path: str) -> tuple[int, str, str]:
    """Return the status, the content type and the body of an ordinary GET."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


async def health(port: int) -> dict[str, Any]:
    status, content_type, body = await asyncio.to_thread(get, port, "/healthz")
    assert (status, content_type) == (200, "application/json")
    answer = json.loads(body)
    assert isinstance(answer, dict)
    return answer


async def until_health(port: int, condition: Callable[[dict[str, Any]], bool]) -> None:
    while not condition(await health(port)):
        await asyncio.sleep(0.02)


async def until_buffers_are_full(port: int) -> None:
    before = 0
    while (sent := (await health(port))["sent"]) != before or sent == 0:
        before = sent
        await asyncio.sleep(0.1)


# The stream


def test_a_plain_client_gets_the_texts_from_now_on() -> None:
    async def test() -> None:
        clock = Clock(newest=100)
        async with simulator(clock) as running, stream(running.port) as client:
            for first, newest in ((101, 101), (102, 104), (105, 1000)):
                clock.set(newest)
                texts = [post_text(1, n) for n in range(first, newest + 1)]
                assert await receive(client, len(texts)) == texts
            assert client.response is not None
            assert "Sec-WebSocket-Extensions" not in client.response.headers  # compression would cost the most of all

    run(test())


def test_json_frames_have_number_timestamp_text_and_numbering() -> None:
    async def test() -> None:
        async with simulator(Clock(newest=400)) as running, stream(running.port, "?format=json&since=0") as client:
            timestamp = PostSchedule(EPOCH, RATE).timestamp_ms
            for n, frame in enumerate(await receive(client, 400), start=1):
                post = {"seq": n, "timestamp": timestamp(n), "text": post_text(1, n), "feed": FEED}
                assert frame == json.dumps(post, ensure_ascii=False)

    run(test())


@pytest.mark.parametrize("since", [0, 743, 744, 745, 999, 1000])  # 1000 - 744 is one batch
def test_since_replays_what_was_missed_then_goes_on_live_without_gap_or_repeat(since: int) -> None:
    async def test() -> None:
        clock = Clock(newest=1000)
        async with simulator(clock) as running, stream(running.port, f"?format=json&since={since}") as client:
            numbers = await receive_numbers(client, 1000 - since)
            for newest in (1001, 1002, 1300):
                clock.set(newest)
                numbers += await receive_numbers(client, newest - since - len(numbers))
            assert numbers == list(range(since + 1, 1301))

    run(test())


def test_the_numbering_may_be_named() -> None:
    async def test() -> None:
        clock = Clock(newest=1000)
        async with simulator(clock) as running:
            async with stream(running.port, f"?format=json&since=990&feed={FEED}") as client:
                clock.set(1002)
                assert await receive_numbers(client, 12) == list(range(991, 1003))
            async with stream(running.port, f"?since=1000&feed={FEED}") as client:
                assert await receive(client, 2) == [post_text(1, n) for n in (1001, 1002)]

    run(test())


async def assert_refused(port: int, query: str, status: int, reason: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await stream(port, query)
    response = refused.value.response
    assert (response.status_code, response.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert reason in bytes(response.body or b"").decode()


@pytest.mark.parametrize("change", [{"epoch": EPOCH - 1}, {"rate": RATE / 2}, {"rate": RATE * 2}, {"seed": 2}])
def test_a_position_of_another_numbering_is_gone(change: dict[str, Any]) -> None:
    async def test() -> None:
        before = Settings(host="127.0.0.1", port=0, rate=RATE, epoch=EPOCH, seed=1)
        after = replace(before, **change)
        async with Simulator(before, Clock(newest=1000)) as old, stream(old.port, "?format=json&since=9") as client:
            feed = json.loads(await client.recv())["feed"]
        async with Simulator(after, Clock(newest=1000)) as new:
            for since in (0, 10, 10**17):  # whether or not it has such a number
                await assert_refused(new.port, f"?format=json&since={since}&feed={feed}", 410, f"feed='{feed}' is not")
            async with stream(new.port, "?format=json") as live, stream(new.port, "?format=json&since=0") as all_posts:
                frames = [json.loads(await all_posts.recv())]
                assert {frame["feed"] for frame in frames}.isdisjoint({feed})
                with pytest.raises(TimeoutError):  # nothing of the past is replayed
                    await asyncio.wait_for(live.recv(), timeout=0.1)
            async with stream(new.port, f"?format=json&since=0&feed={frames[0]['feed']}") as client:
                assert json.loads(await client.recv()) == frames[0]

    run(test())


@pytest.mark.parametrize("query", ["", "&shard=0/1", "&shard=0/3", "&shard=1/3", "&shard=2/3", "&shard=77/700"])
def test_a_node_whose_clock_is_behind_waits_until_the_post_exists(query: str) -> None:
    """All up to `since` was delivered before, by another node: nothing is sent twice, and nothing is missed."""
    shard, shards = map(int, query.partition("=")[2].split("/")) if query else (0, 1)

    async def test() -> None:
        clock = Clock(newest=700)
        path = f"?format=json&since=1000&feed={FEED}{query}"
        async with simulator(clock) as running, stream(running.port, path) as client:
            for newest in (701, 999, 1000):
                clock.set(newest)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.recv(), timeout=0.05)
            clock.set(2500)
            expected = [n for n in range(1001, 2501) if n % shards == shard]
            assert await receive_numbers(client, len(expected)) == expected

    run(test())


def test_waiting_for_a_post_of_a_clock_that_is_ahead_is_no_busy_loop() -> None:
    async def test() -> None:
        clock = Clock(newest=10)
        path = f"?since={10**18 - 1}&feed={FEED}"
        async with simulator(clock) as running, stream(running.port, path) as client:
            await (await client.ping())
            before = clock.reads
            await asyncio.sleep(0.5)  # what is measured
            assert clock.reads - before <= 5

    run(test())


@pytest.mark.parametrize("shards", [1, 3, 700])
def test_shards_part_the_numbers_between_them(shards: int) -> None:
    async def test() -> None:
        clock = Clock(newest=1000)
        async with simulator(clock) as running:
            for shard in {0, 1 % shards, shards - 1}:
                clock.set(1000)
                expected = [n for n in range(8, 2501) if n % shards == shard]
                missed = sum(n <= 1000 for n in expected)
                async with stream(running.port, f"?format=json&since=7&shard={shard}/{shards}") as client:
                    numbers = await receive_numbers(client, missed)
                    clock.set(2500)
                    assert numbers + await receive_numbers(client, len(expected) - missed) == expected

    run(test())


def test_a_stream_that_stops_goes_quiet_but_stays_open() -> None:
    async def test() -> None:
        clock = Clock(newest=40)
        async with simulator(clock, stop_after=50) as running:
            async with stream(running.port, "?since=0") as client, stream(running.port, "?since=40") as late:
                clock.set(10_000)
                assert await receive(client, 50) == [post_text(1, n) for n in range(1, 51)]
                assert await receive(late, 10) == [post_text(1, n) for n in range(41, 51)]
                reads = clock.reads
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.recv(), timeout=0.1)
                assert clock.reads == reads  # there is nothing to wait for
                await (await client.ping())
            async with stream(running.port, "?since=50") as client:
                await (await client.ping())
            assert (await health(running.port))["newest"] == 50

    run(test())


def test_live_posts_come_at_their_time() -> None:
    async def test() -> None:
        settings = Settings(host="127.0.0.1", port=0, rate=200)
        async with Simulator(settings) as running, stream(running.port, "?format=json") as client:
            delays = []
            for _ in range(100):
                timestamp = json.loads(await client.recv())["timestamp"]
                delays.append(time.time() * 1000 - timestamp)
            assert min(delays) >= 0
            assert statistics.median(delays) < 100

    run(test())


def test_a_clock_that_was_set_forward_is_noticed_before_the_next_post_was_due() -> None:
    async def test() -> None:
        clock = Clock(newest=5, rate=0.01)
        async with simulator(clock) as running, stream(running.port, "?since=4&format=json") as client:
            assert await receive_numbers(client, 1) == [5]
            clock.set(8)
            assert await receive_numbers(client, 3) == [6, 7, 8]

    run(test())


def test_waiting_for_the_next_post_is_no_busy_loop() -> None:
    async def test() -> None:
        for rate, most in ((0.01, 5), (100_000.0, 150)):
            clock = Clock(newest=10, rate=rate)
            async with simulator(clock) as running, stream(running.port, "?since=9") as client:
                await client.recv()
                before = clock.reads
                await asyncio.sleep(0.5)  # what is measured
                assert clock.reads - before <= most

    run(test())


# Clients


def test_what_a_client_says_is_ignored() -> None:
    async def test() -> None:
        clock = Clock(newest=0)
        async with simulator(clock) as running, stream(running.port) as client:
            for _ in range(100):
                await client.send("hello " * 1000)
            await (await client.ping())
            clock.set(1)
            assert await receive(client, 1) == [post_text(1, 1)]

    run(test())


def test_a_client_that_left_is_forgotten_while_the_stream_is_quiet() -> None:
    async def test() -> None:
        async with simulator(Clock(newest=5, rate=0.01)) as running:
            async with stream(running.port), stream(running.port):
                assert (await health(running.port))["clients"] == 2
            killed = stream(running.port)
            (await killed).transport.abort()
            await until_health(running.port, lambda answer: answer["clients"] == 0)

    run(test())


def test_clients_that_do_not_read_cost_no_memory_and_hold_up_nobody(start: "Start") -> None:
    async def test() -> None:
        server = start(**EVERYTHING)
        memory = psutil.Process(server.pid).memory_info
        before = memory().rss
        async with contextlib.AsyncExitStack() as stack:
            # Each library takes 16 frames, then it waits.
            idle = [await stack.enter_async_context(stream(server.port, "?since=0&format=json")) for _ in range(3)]
            reader = await stack.enter_async_context(stream(server.port, "?since=0&format=json"))
            assert await receive_numbers(reader, 40_000) == list(range(1, 40_001))
            assert memory().rss - before < 3_000_000  # 0.3 million measured, 14 million without a limit
            for client in idle:
                assert await receive_numbers(client, 3_000) == list(range(1, 3_001))

    run(test())


def test_one_core_replays_60_000_posts_a_second_and_still_answers_others(start: "Start") -> None:
    server = start(**EVERYTHING)
    process = psutil.Process(server.pid)
    with raw_client(server.port, "/?since=0&format=json") as client:

        def read_all() -> None:
            buffer = bytearray(2**20)
            with contextlib.suppress(ConnectionResetError):  # the end of the test
                while client.recv_into(buffer):
                    pass

        reader = threading.Thread(target=read_all)
        reader.start()
        before = process.cpu_times()
        deadline = time.monotonic() + 10
        sent = 0
        while sent < 200_000 and time.monotonic() < deadline:
            sent = json.loads(get(server.port, "/healthz")[2])["sent"]  # within five seconds, or it fails
        after = process.cpu_times()
        client.shutdown(socket.SHUT_RDWR)
        reader.join()
    assert sent / (after.user + after.system - before.user - before.system) > 60_000


def test_leaving_the_context_leaves_no_connection_behind() -> None:
    async def test() -> None:
        tasks = asyncio.all_tasks()
        with contextlib.ExitStack() as clients:
            async with simulator(Clock(newest=1_000_000)) as running:
                for path in ("/", "/?since=0"):  # the second has more to read than any buffer holds
                    clients.enter_context(raw_client(running.port, path))
                await until_buffers_are_full(running.port)
            assert asyncio.all_tasks() == tasks

    run(test())


# HTTP


def test_healthz() -> None:
    async def test() -> None:
        clock = Clock(newest=5, rate=0.01)
        async with simulator(clock) as running:
            feed = feed_id(EPOCH, 0.01, 1)
            expected = {
                "status": "ok",
                "feed": feed,
                "newest": 5,
                "clients": 0,
                "sent": 0,
                "last_send_age_seconds": None,
            }
            assert await health(running.port) == expected
            async with stream(running.port, "?since=2") as client:
                await receive(client, 3)
                clock.now += 2.5
                assert await health(running.port) == {**expected, "clients": 1, "sent": 3, "last_send_age_seconds": 2.5}

    run(test())


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/?since=-1", 400, "since='-1' must be an integer >= 0"),
        ("/?since=", 400, "since='' must be"),
        ("/?since", 400, "since='' must be"),
        ("/?since=1.0", 400, "since='1.0' must be"),
        ("/?since=%D9%A1", 400, "since='\u0661' must be"),  # a digit, but not one of ASCII
        ("/?since=" + "9" * 5000, 400, "must be an integer >= 0 of at most 18 digits"),
        ("/?since=1&since=1", 400, "repeated key in 'since=1&since=1'"),
        ("/?format=xml", 400, "format='xml' must be json"),
        ("/?format=", 400, "format='' must be json"),
        ("/?shard=2/2", 400, "shard='2/2' must be i/n with 0 <= i < n"),
        ("/?shard=0/0", 400, "shard='0/0' must be"),
        ("/?shard=-1/2", 400, "shard='-1/2' must be"),
        ("/?shard=1", 400, "shard='1' must be"),
        ("/?shard=0/2/3", 400, "shard='0/2/3' must be"),
        ("/?until=7", 400, "unknown key 'until', there are only feed, format, since and shard"),
        (f"/?feed={FEED}", 400, "feed is only for since, which is missing"),
        (f"/?since=101&feed={FEED}&feed={FEED}", 400, "repeated key"),
        ("/?since=1&feed=", 410, f"feed='' is not this numbering, {FEED}: its epoch, rate or seed differs"),
        ("/?since=1&feed=%0A", 410, "feed='\\n' is not this numbering"),
        (f"/?since=1&feed={FEED.upper()}", 410, "is not this numbering"),
        (f"/?since=1x&feed={FEED}", 400, "since='1x' must be an integer"),
        ("/?Since=1", 400, "unknown key 'Since'"),
        ("/?since=101", 400, "since=101 is above the newest post, 100: the numbering went back"),
        ("/nowhere", 404, "unknown path '/nowhere', there are only / and /healthz"),
        ("/healthz/", 404, "unknown path '/healthz/'"),
        ("//?since=1", 404, "unknown path '//'"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(path: str, status: int, reason: str) -> None:
    async def test() -> None:
        async with simulator(Clock(newest=100)) as running:
            await assert_refused(running.port, path[1:], status, reason)
            is_well_formed = "above" in reason or status == 410
            with contextlib.nullcontext() if is_well_formed else pytest.raises(BadRequest):
                parse_request(path)

    run(test())


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/", StreamRequest(since=None, as_json=False, shard=0, shards=1)),
        ("/?", StreamRequest()),
        ("/?format=json", StreamRequest(as_json=True)),
        ("/?since=0", StreamRequest(since=0)),
        ("/?shard=1/3&since=41&format=json", StreamRequest(since=41, as_json=True, shard=1, shards=3)),
        ("/?shard=1%2F3", StreamRequest(shard=1, shards=3)),
        ("/?since=7&feed=a1", StreamRequest(since=7, feed="a1")),
    ],
)
def test_parse_request(path: str, request_: StreamRequest) -> None:
    assert parse_request(path) == request_


# Settings


def test_settings_have_defaults_and_an_empty_one_counts_as_absent() -> None:
    assert Settings.from_environment({}) == Settings("localhost", 5555, 20.0, 1, 1767225600.0, 0)
    assert Settings.from_environment({"SIMULATOR_HOST": "", "SIMULATOR_STOP_AFTER": ""}) == Settings()


def test_settings_come_from_the_environment() -> None:
    environment = {"HOST": "0.0.0.0", "PORT": "80", "RATE": "0.01", "SEED": "0", "EPOCH": "1.5", "STOP_AFTER": "9"}
    settings = Settings.from_environment({f"SIMULATOR_{name}": value for name, value in environment.items()})
    assert settings == Settings("0.0.0.0", 80, 0.01, 0, 1.5, 9)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SIMULATOR_PORT", "65536", "an integer from 0 to 65535"),
        ("SIMULATOR_PORT", "http", "an integer from 0 to 65535"),
        ("SIMULATOR_RATE", "0", "a number from 0.01 to 100000"),
        ("SIMULATOR_RATE", "100001", "a number from 0.01 to 100000"),
        ("SIMULATOR_RATE", "nan", "a number from 0.01 to 100000"),
        ("SIMULATOR_SEED", "1.5", "an integer from 0 to 9223372036854775807"),
        ("SIMULATOR_EPOCH", "-1", "a number from 0 to 4102444800"),
        ("SIMULATOR_EPOCH", "2026-01-01", "a number from 0 to 4102444800"),
        ("SIMULATOR_STOP_AFTER", "-1", "an integer from 0 to 9223372036854775807"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is '{value}', it must be {allowed}$"):
        Settings.from_environment({name: value})


# The process


class Process:
    """A simulator of its own process, on a free port of 127.0.0.1."""

    def __init__(self, *command: str, **environment: str) -> None:
        free_port = {"SIMULATOR_HOST": "127.0.0.1", "SIMULATOR_PORT": "0"}
        self._process = subprocess.Popen(
            [sys.executable, *(command or [SCRIPT])],
            env={**os.environ, **free_port, **environment},
            cwd=ROOT if command else "/",
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid, self.send_signal = self._process.pid, self._process.send_signal
        assert self._process.stderr is not None
        listening = re.search(r"listening on 127\.0\.0\.1 port (\d+)", self._process.stderr.readline())
        assert listening
        self.port = int(listening[1])

    async def wait(self) -> tuple[int, float]:
        """Return the exit status and the seconds it took to come."""
        start = time.monotonic()
        return await asyncio.to_thread(self._process.wait, 10), time.monotonic() - start

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start(*command: str, **environment: str) -> Process:
            process = Process(*command, **environment)
            stack.callback(process.kill)
            return process

        yield start


def raw_client(port: int, path: str) -> socket.socket:
    """Return a connection that asked for a stream, and of which nothing has been read."""
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    return client


@pytest.mark.parametrize(
    ("command", "signum"),
    [((SCRIPT,), signal.SIGTERM), (("-O", "-m", "simulator.twitter_stream_simulator"), signal.SIGINT)],
    ids=["script", "module"],
)
def test_a_signal_closes_every_connection_and_ends_the_process(
    start: Start, command: tuple[str, ...], signum: signal.Signals
) -> None:
    async def test() -> None:
        server = start(*command, SIMULATOR_RATE="1000")
        async with stream(server.port) as live, stream(server.port) as quiet:
            await live.recv()
            server.send_signal(signum)
            for client in (live, quiet):
                async for _ in client:  # ends with 1000 and 1001, other codes raise
                    pass
                assert client.close_code == 1001
            status, seconds = await server.wait()
            assert status == 0
            assert seconds < 2

    run(test())


def test_clients_that_do_not_answer_cannot_keep_it_from_ending(start: Start) -> None:
    async def test() -> None:
        server = start(**EVERYTHING)
        half_open = socket.create_connection(("127.0.0.1", server.port))
        with half_open, raw_client(server.port, "/?since=0"), raw_client(server.port, "/"):
            await until_buffers_are_full(server.port)
            server.send_signal(signal.SIGTERM)
            status, seconds = await server.wait()
            assert status == 0
            assert seconds < 3

    run(test())


def test_a_restarted_simulator_goes_on_where_time_is(start: Start) -> None:
    async def test() -> None:
        environment = {"SIMULATOR_RATE": "500", "SIMULATOR_SEED": "9"}
        before = start(**environment)
        async with stream(before.port, "?format=json") as client:
            old = [json.loads(frame) for frame in await receive(client, 10)]
            before.kill()
        after = start(**environment)
        async with stream(after.port, f"?format=json&since={old[0]['seq'] - 1}") as client:
            new = [json.loads(frame) for frame in await receive(client, 500)]
        assert new[:10] == old
        schedule = PostSchedule(Settings.epoch, 500)
        for n, post in enumerate(new, start=old[0]["seq"]):
            expected = {"seq": n, "timestamp": schedule.timestamp_ms(n), "text": post_text(9, n)}
            assert post == {**expected, "feed": feed_id(Settings.epoch, 500, 9)}

    run(test())


def failure(**environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_port_in_use_is_one_line_and_exit_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        status, stderr = failure(SIMULATOR_PORT=port)
    assert status == 1
    assert re.fullmatch(f".* cannot listen on localhost:{port}: .*address already in use\n", stderr)


def test_a_bad_setting_is_one_line_and_exit_status_2() -> None:
    status, stderr = failure(SIMULATOR_RATE="fast")
    assert status == 2
    assert re.fullmatch(".* SIMULATOR_RATE is 'fast', it must be a number from 0.01 to 100000\n", stderr)


@pytest.mark.parametrize("host", ["localhost", "*"])
@pytest.mark.parametrize("ipv6", [True, False])
def test_a_host_is_each_of_its_addresses_there_is(host: str, ipv6: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        addresses = ["127.0.0.1"]
        with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
            addresses += ["[::1]"] if ipv6 else []
        if not ipv6:
            monkeypatch.setattr(socket, "create_server", refuse)
        async with Simulator(Settings(host=host, port=port, epoch=EPOCH), Clock(newest=1, rate=20.0)) as running:
            assert running.port == port
            for address in addresses:
                async with connect(f"ws://{address}:{port}/?since=0", proxy=None) as client:
                    assert await client.recv() == post_text(1, 1)

    run(test())
