"""The checks before anything is started: each problem is one line."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from local import preflight
from local.settings import Settings
from tests.integration.conftest import free_ports


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('openjdk version "21" 2023-09-19', None),
        ('openjdk version "11.0.2" 2019-01-15', "JDK 17 or newer is needed"),
        ('java version "1.8.0_292"', "JDK 17 or newer is needed"),
        ("", "says nothing"),
        (None, "java is not on PATH"),
    ],
)
def test_java(printed: str | None, problem: str | None) -> None:
    found = list(preflight.check_java(printed))
    assert found == [] if problem is None else problem in found[0]


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "\u00fc", "a$b", "a\nb", "a:b", "a%20b"])
def test_a_path_that_flinks_scripts_do_not_take_is_refused(name: str) -> None:
    assert list(preflight.check_path(Path("/home/me/a-b_c.d+e@1"))) == []
    (problem,) = preflight.check_path(Path("/home") / name)
    assert repr(f"/home/{name}") in problem
    assert "STATE" in problem


def test_maven_is_needed_only_while_jars_are_missing(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    assert "mvn is not on PATH" in next(iter(preflight.check_maven(settings, None)))
    assert list(preflight.check_maven(settings, "/usr/bin/mvn")) == []
    for name in ("flink", "kafka"):
        (settings.jars / name).mkdir(parents=True)
    assert list(preflight.check_maven(settings, None)) == []


def test_a_port_in_use_is_named_with_its_user_and_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(ports=replace(free_ports(), kafka=port))
        (problem,) = preflight.check_ports(settings)
    assert f"port {port} is in use by " in problem
    assert "KAFKA_PORT" in problem
    assert list(preflight.check_ports(settings)) == []


def test_ports_of_parts_that_do_not_run_are_not_checked() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(ports=replace(free_ports(), mongodb=taken.getsockname()[1]), mongodb_uri="mongodb://other")
        assert list(preflight.check_ports(settings)) == []


DOWN = "wss://down.example/a"


def feed(folder: Path, *urls: str) -> Settings:
    """The settings for a feed with these servers."""
    file = folder / "feed.yaml"
    file.write_text(f"{{name: mine, connect: {{urls: {list(urls)}}}, frames: {{format: text}}, post: {{}}}}")
    return Settings(feed=str(file))


def connect(address: tuple[str, int], timeout: float) -> socket.socket:
    assert timeout <= 5
    if address[0] == "down.example":
        raise OSError("no route")
    return socket.socket()


def test_one_reachable_server_is_enough(tmp_path: Path) -> None:
    assert list(preflight.check_feed(feed(tmp_path, DOWN, "wss://up.example/b"), connect)) == []
    settings = feed(tmp_path, DOWN, "ws://down.example", "wss://down.example:9443/?token=s3cret")
    (problem,) = preflight.check_feed(settings, connect)
    assert f"FEED='{tmp_path}/feed.yaml'" in problem
    assert [port for port in ("443", "80", "9443") if f"down.example:{port}: no route" not in problem] == []
    assert "s3cret" not in problem


@pytest.mark.parametrize("url", ["wss://${file:/run/host}/a", "wss://me:${file:/run/password}@down.example"])
def test_a_server_with_a_secret_in_its_name_is_not_checked(tmp_path: Path, url: str) -> None:
    assert list(preflight.check_feed(feed(tmp_path, url, DOWN), connect)) == []


def test_a_server_behind_a_proxy_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert list(preflight.check_feed(feed(tmp_path, DOWN), connect)) == []
