"""The images' servers answer on both versions of IP: the kubelet's probes come on the pod's own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread

import pytest
import requests

from simulator import listening
from simulator.watchdog import metrics
from simulator.worldometers_stub import PageServer
from tests.integration.conftest import free_ports


@contextmanager
def page(host: str) -> Iterator[int]:
    with PageServer(host, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def watchdog_metrics(_: str) -> Iterator[int]:
    port = free_ports().simulator
    metrics.serve(port, lambda: 0.0, lambda: 0.0)
    yield port


def answers(address: str, port: int) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        return session.get(f"http://{address}:{port}/healthz", timeout=5).ok


@pytest.mark.parametrize("server", [page, watchdog_metrics])
@pytest.mark.parametrize("ipv6", [True, False])
def test_every_address_is_each_that_there_is(
    server: Callable[[str], AbstractContextManager[int]], ipv6: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ["127.0.0.1", *(["[::1]"] if ipv6 and listening.can_bind("::1") else [])]
    if not ipv6:
        monkeypatch.setattr(listening, "can_bind", lambda _: False)
    with server("*") as port:
        assert all(answers(address, port) for address in expected)


def test_an_ipv6_address_alone_is_taken() -> None:
    address = "::1" if listening.can_bind("::1") else "127.0.0.1"
    with page(address) as port:
        assert answers(f"[{address}]" if ":" in address else address, port)
