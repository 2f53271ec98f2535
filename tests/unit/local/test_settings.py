"""The local stack's settings: defaults, allowed values, errors, and what follows from them."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.feeds.definition import PRESETS
from jobs.settings import SettingError, read_aggregator_settings, read_collector_settings
from local.settings import Ports, Settings, read_settings
from local.stack import Stack

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = Settings(
    state=ROOT / ".state",
    ports=Ports(
        simulator=5555, worldometers=5556, kafka=9092, kafka_controller=9093, mongodb=27017, flink=8081, flink_rpc=6123
    ),
    feed="simulator",
    mongodb_uri=None,
    rate=20.0,
    window_seconds=20,
    documents=None,
)
PORTS = {name: f"{name.upper()}_PORT" for name in vars(DEFAULTS.ports)}
SRV = "mongodb+srv://user:s3cret@db.example/"
GOOD = {
    **{
        f"{PORTS[name]}={port}": replace(DEFAULTS, ports=replace(DEFAULTS.ports, **{name: port}))
        for name in PORTS
        for port in (1, 65_535)
    },
    "FEED=simulator": DEFAULTS,
    "FEED=text": replace(DEFAULTS, feed="text"),
    "FEED=jetstream-v1": replace(DEFAULTS, feed="jetstream-v1"),
    "PLANNED_POSTS_PER_SECOND=1": replace(DEFAULTS, posts_per_second=1),
    "PLANNED_POSTS_PER_SECOND=1000000": replace(DEFAULTS, posts_per_second=1_000_000),
    f"MONGODB_URI={SRV}": replace(DEFAULTS, mongodb_uri=SRV),
    "MONGODB_URI=mongodb://a:1": replace(DEFAULTS, mongodb_uri="mongodb://a:1"),
    "STATE=/somewhere/else": replace(DEFAULTS, state=Path("/somewhere/else")),
    "SIMULATOR_RATE=0.01": replace(DEFAULTS, rate=0.01),
    "SIMULATOR_RATE=50": replace(DEFAULTS, rate=50.0),
    "SIMULATOR_RATE=100000": replace(DEFAULTS, rate=100_000.0),
    "WINDOW_SECONDS=1": replace(DEFAULTS, window_seconds=1),
    "WINDOW_SECONDS=3600": replace(DEFAULTS, window_seconds=3_600),
    "DOCUMENTS=0": DEFAULTS,
    "DOCUMENTS=1": replace(DEFAULTS, documents=1),
    "DOCUMENTS=1000000": replace(DEFAULTS, documents=1_000_000),
}
NO_NUMBER = ["-1", "1.5", "1e3", " 5", "5 ", "\u0665", "²", "ten", "9" * 19, "9" * 5000]
BAD = [
    *[(variable, value, ("1", "65535")) for variable in PORTS.values() for value in (*NO_NUMBER, "0", "65536")],
    *[("FEED", value, PRESETS) for value in ("Simulator", "jetstream ", "my-feed")],
    *[("PLANNED_POSTS_PER_SECOND", value, ("1", "1000000")) for value in (*NO_NUMBER, "0", "1000001")],
    *[("SIMULATOR_RATE", v, ("0.01", "100000")) for v in ("0", "0.009", "100001", "-1", "nan", "inf", "1,5", "fast")],
    *[("WINDOW_SECONDS", value, ("1", "3600")) for value in (*NO_NUMBER, "0", "3601")],
    *[("DOCUMENTS", value, ("0", "1000000")) for value in (*NO_NUMBER, "1000001")],
]
EVERY_VARIABLE = dict.fromkeys(pair.partition("=")[0] for pair in GOOD)


def error_of(environment: dict[str, str]) -> str:
    """The text of the error, which is one line."""
    with pytest.raises(SettingError) as caught:
        read_settings(environment)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_defaults() -> None:
    assert read_settings({}) == DEFAULTS
    assert Settings() == DEFAULTS


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in EVERY_VARIABLE:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KAFKA_PORT", "1234")
    assert read_settings() == replace(DEFAULTS, ports=replace(DEFAULTS.ports, kafka=1234))


@pytest.mark.parametrize(("pair", "expected"), GOOD.items(), ids=GOOD)
def test_variable(pair: str, expected: Settings) -> None:
    name, _, value = pair.partition("=")
    assert read_settings({name: value}) == expected


@pytest.mark.parametrize("variable", EVERY_VARIABLE)
def test_empty_is_unset(variable: str) -> None:
    assert read_settings({variable: ""}) == DEFAULTS


@pytest.mark.parametrize(("name", "value", "allowed"), BAD, ids=[f"{b[0]}={b[1]:.20}" for b in BAD])
def test_wrong_value_is_refused_with_what_is_allowed(name: str, value: str, allowed: tuple[str, ...]) -> None:
    start = f"{name}={value!r}: "
    error = error_of({name: value})
    assert error.startswith(start)
    assert [part for part in allowed if part not in error.removeprefix(start)] == []


@pytest.mark.parametrize("uri", ["localhost:27017", "http://u:s3cret@a", "mongodb:u:s3cret@a", "s3cret"])
def test_wrong_mongodb_uri_is_refused_without_showing_it(uri: str) -> None:
    error = error_of({"MONGODB_URI": uri})
    assert error.startswith("MONGODB_URI ")
    assert "mongodb:// or mongodb+srv://" in error
    assert uri not in error
    assert "s3cret" not in error


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(PORTS, 2)))
def test_two_parts_cannot_share_a_port(one: str, other: str) -> None:
    taken = getattr(DEFAULTS.ports, other)
    error = error_of({PORTS[one]: str(taken)})
    assert f"{PORTS[one]}={taken}" in error
    assert f"{PORTS[other]}={taken}" in error
    swapped = {PORTS[one]: str(taken), PORTS[other]: str(getattr(DEFAULTS.ports, one))}
    assert getattr(read_settings(swapped).ports, one) == taken


def test_a_relative_state_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({"STATE": "some/where"})
    monkeypatch.chdir("/")
    assert settings.state == tmp_path.resolve() / "some" / "where"
    assert settings.jars == settings.state / "jars"
    assert settings.run == settings.state / "run"
    assert settings.logs == settings.run / "logs"


def test_addresses_follow_the_ports() -> None:
    settings = read_settings({variable: str(number) for number, variable in enumerate(PORTS.values(), start=1001)})
    assert settings.console_url == "http://127.0.0.1:1001"
    assert settings.simulator_url == "ws://127.0.0.1:1002"
    assert settings.worldometers_url == "http://127.0.0.1:1003/coronavirus/"
    assert settings.kafka == "127.0.0.1:1004"
    assert settings.store_uri == "mongodb://127.0.0.1:1006"
    assert settings.flink_url == "http://127.0.0.1:1007"


def test_the_users_own_store_comes_first() -> None:
    assert read_settings({"MONGODB_URI": SRV, "MONGODB_PORT": "1"}).store_uri == SRV


def test_the_users_own_store_comes_by_file(tmp_path: Path) -> None:
    file = tmp_path / "uri"
    file.write_text(SRV)
    settings = read_settings({"MONGODB_URI_FILE": str(file)})
    assert settings == replace(DEFAULTS, mongodb_uri=SRV)
    assert "s3cret" not in repr(settings)
    file.write_text(f"{SRV}\n")
    assert "s3cret" not in error_of({"MONGODB_URI_FILE": str(file)})


FEED = "{name: mine, connect: {urls: ['wss://feed.example/?key=${file:%s}']}, post: {text: text}}"


def test_a_path_of_a_feed_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    for name in ("mine.yaml", "mine.yml", "feeds/mine"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(FEED % secret)
        monkeypatch.chdir(tmp_path)
        settings = read_settings({"FEED": name})
        monkeypatch.chdir("/")
        assert settings == replace(DEFAULTS, feed=str(file.resolve()))
        assert not settings.simulated
        assert settings.definition.name == "mine"
        assert settings.planned_posts_per_second == 200
    assert "s3cret" not in repr(vars(settings))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        ("{name: mine, post: {text: text}, conect: {}}", "the key 'conect' is unknown"),
        ("{name: mine, post: {text: text}}", "connect.urls"),
        (FEED % "/no/such/token", "/no/such/token"),
    ],
    ids=["no file", "unknown key", "no servers", "no secret"],
)
def test_a_feed_that_cannot_be_read_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "feed.yaml"
    if content is not None:
        file.write_text(content)
    error = error_of({"FEED": str(file)})
    assert error.startswith(f"FEED={str(file)!r}")
    assert problem in error


@pytest.mark.parametrize(("feed", "simulated"), [("simulator", True), ("text", True), ("jetstream-v1", False)])
def test_the_jobs_take_what_the_stack_hands_on(feed: str, simulated: bool) -> None:
    local = read_settings({"FEED": feed, "SIMULATOR_RATE": "2.5"})
    assert local.simulated is simulated
    assert local.planned_posts_per_second == (3 if simulated else 200)
    environment = Stack(local).job_environment()
    del environment["MONGODB_URI_FILE"]  # it exists while the stack runs
    collector = read_collector_settings(environment)
    assert collector.feed == local.definition
    own = tuple(local.definition.connect["urls"])
    assert collector.websocket_url.read() == ((local.simulator_url,) if simulated else own)
    aggregator = read_aggregator_settings({**environment, "MONGODB_URI": local.store_uri})
    assert aggregator.mongodb_uri.read() == local.store_uri
    assert aggregator.worldometers_url.read() == local.worldometers_url
