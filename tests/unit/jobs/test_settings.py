"""The jobs' settings: defaults, allowed values, and the error for a wrong value."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pymongo.uri_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.addresses import (
    MONGODB_ALLOWED,
    PAGE_ALLOWED,
    WEBSOCKET_ALLOWED,
    mongodb_address,
    page_address,
    websocket_addresses,
    with_write_concern,
)
from jobs.feeds.definition import PRESETS, load
from jobs.feeds.templates import files_in
from jobs.settings import (
    AggregatorSettings,
    CollectorSettings,
    KafkaSecurity,
    Secret,
    SettingError,
    read_aggregator_settings,
    read_collector_settings,
)


def websocket_url(text: str) -> Secret[tuple[str, ...]]:
    return Secret("WEBSOCKET_URL", websocket_addresses, WEBSOCKET_ALLOWED, text)


def mongodb_uri(text: str) -> Secret[str]:
    return Secret("MONGODB_URI", mongodb_address, MONGODB_ALLOWED, text)


def worldometers_url(text: str) -> Secret[str]:
    return Secret("WORLDOMETERS_URL", page_address, PAGE_ALLOWED, text)


Read = Callable[[Mapping[str, str]], CollectorSettings | AggregatorSettings]
READERS: dict[str, Read] = {"collector": read_collector_settings, "aggregator": read_aggregator_settings}
DEFAULTS: dict[str, CollectorSettings | AggregatorSettings] = {
    "collector": CollectorSettings(
        websocket_url=websocket_url("ws://localhost:5555"),
        websocket_ca_file=None,
        feed=load("simulator"),
        bootstrap_servers="localhost:9092",
        security=KafkaSecurity("PLAINTEXT", username=None, password_file=None, ca_file=None),
        topic="tweets",
        rejected_topic="tweets.rejected",
        events_topic="tweets.events",
        id_prefix="data-collection",
        max_rejected_share=0.9,
        max_frame_bytes=262_144,
        buffer_frames=20_000,
        buffer_bytes=67_108_864,
        max_silence_seconds=60,
        resume_from_topic=True,
        checkpoint_seconds=2,
    ),
    "aggregator": AggregatorSettings(
        bootstrap_servers="localhost:9092",
        security=KafkaSecurity("PLAINTEXT", username=None, password_file=None, ca_file=None),
        topic="tweets",
        rejected_topic="tweets.rejected",
        id_prefix="data-collection",
        window_seconds=20,
        window_buckets=1,
        out_of_order_seconds=1,
        allowed_lateness_seconds=40,
        planned_posts_per_second=1_000,
        replay_from=None,
        idle_seconds=0,
        checkpoint_seconds=10,
        max_document_bytes=12_000_000,
        mongodb_uri=mongodb_uri("mongodb://localhost:27017"),
        mongodb_ca_file=None,
        database="twitter_db",
        collection="twitter_collection",
        worldometers_url=worldometers_url("https://www.worldometers.info/coronavirus/"),
        refresh_seconds=60,
    ),
}
# job: variable, field, minimum and maximum
WHOLE = [
    ("collector", "MAX_FRAME_BYTES", "max_frame_bytes", 1_024, 524_288),
    ("collector", "BUFFER_FRAMES", "buffer_frames", 100, 1_000_000),
    ("collector", "BUFFER_BYTES", "buffer_bytes", 1_048_576, 1_073_741_824),
    ("collector", "MAX_SILENCE_SECONDS", "max_silence_seconds", 0, 86_400),
    ("collector", "CHECKPOINT_SECONDS", "checkpoint_seconds", 1, 120),
    ("aggregator", "WINDOW_SECONDS", "window_seconds", 1, 3_600),
    ("aggregator", "WINDOW_BUCKETS", "window_buckets", 1, 64),
    ("aggregator", "PLANNED_POSTS_PER_SECOND", "planned_posts_per_second", 1, 1_000_000),
    ("aggregator", "OUT_OF_ORDER_SECONDS", "out_of_order_seconds", 0, 3_600),
    ("aggregator", "ALLOWED_LATENESS_SECONDS", "allowed_lateness_seconds", 0, 3_600),
    ("aggregator", "IDLE_SECONDS", "idle_seconds", 0, 86_400),
    ("aggregator", "CHECKPOINT_SECONDS", "checkpoint_seconds", 1, 120),
    ("aggregator", "MAX_DOCUMENT_BYTES", "max_document_bytes", 1_000, 16_000_000),
    ("aggregator", "WORLDOMETERS_REFRESH_SECONDS", "refresh_seconds", 1, 86_400),
]
NAMES = [
    *[(job, "KAFKA_TOPIC", "topic") for job in READERS],
    *[(job, "KAFKA_REJECTED_TOPIC", "rejected_topic") for job in READERS],
    ("collector", "KAFKA_EVENTS_TOPIC", "events_topic"),
    *[(job, "KAFKA_ID_PREFIX", "id_prefix") for job in READERS],
    ("aggregator", "MONGODB_DATABASE", "database"),
    ("aggregator", "MONGODB_COLLECTION", "collection"),
]
LONGEST = {
    "KAFKA_TOPIC": 249,
    "KAFKA_REJECTED_TOPIC": 249,
    "KAFKA_EVENTS_TOPIC": 249,
    "KAFKA_ID_PREFIX": 200,
    "MONGODB_DATABASE": 63,
    "MONGODB_COLLECTION": 190,
}
WEBSOCKETS = "ws://a:5555/x?y=z, wss://b"
GOOD_WEBSOCKETS = ("wss://a/b?c=d", WEBSOCKETS, "ws://[::1]:65535", "wss://u:p%40:ss@a?b", "ws://\u00fc.example/\u00e4")
SRV = "mongodb+srv://user:s3cret@db.example/?retryWrites=true"
GOOD: list[tuple[str, str, str, str, Any]] = [
    *[(job, name, field, str(n), n) for job, name, field, low, high in WHOLE for n in (low, low + 1, high)],
    *[(job, name, field, n, n) for job, name, field in NAMES for n in ("a", "a_B-9", "x" * 60, "x" * LONGEST[name])],
    *[
        (job, "KAFKA_BOOTSTRAP_SERVERS", "bootstrap_servers", n, n)
        for job in READERS
        for n in ("a:1", "a.b:9092,c-d:65535", "[::1]:9092,[fd00::2]:9092")
    ],
    *[
        (job, "KAFKA_SECURITY_PROTOCOL", "security", protocol, KafkaSecurity(protocol))
        for job in READERS
        for protocol in ("PLAINTEXT", "SSL")
    ],
    ("collector", "FEED", "feed", "simulator", load("simulator")),
    *[("collector", "MAX_REJECTED_SHARE", "max_rejected_share", n, float(n)) for n in ("0", "0.25", "1", "1.0")],
    *[("collector", "START_FROM", "resume_from_topic", n, n == "topic") for n in ("topic", "live")],
    *[("aggregator", "REPLAY_FROM", "replay_from", n, n) for n in ("earliest", "2026-11-24T08:00:00Z")],
    *[("collector", "WEBSOCKET_URL", "websocket_url", n, websocket_url(n)) for n in GOOD_WEBSOCKETS],
    *[("aggregator", "MONGODB_URI", "mongodb_uri", n, mongodb_uri(n)) for n in (SRV, "mongodb://a,b/?replicaSet=c")],
    ("aggregator", "WORLDOMETERS_URL", "worldometers_url", "http://a:5556/b/", worldometers_url("http://a:5556/b/")),
]
NO_NUMBER = [
    "-1",
    "+5",
    "1.0",
    "1e3",
    " 500",
    "500 ",
    "5_00",
    "0x200",
    "\u0665\u0660\u0660",
    "ten",
    "9" * 19,
    "9" * 5000,
    "500\n",
]
NO_NAME = [" ", "a b", "a/b", "a$b", "a,b", "ä", "a'b", "a\n"]
NO_OTHER_NAME = {
    "KAFKA_TOPIC": [".", "..", "__consumer_offsets"],
    "KAFKA_REJECTED_TOPIC": [".", "..", "__consumer_offsets"],
    "KAFKA_EVENTS_TOPIC": [".", "..", "__consumer_offsets"],
    "MONGODB_DATABASE": ["admin", "config", "local", "a.b"],
    "MONGODB_COLLECTION": ["system.views", ".a", "a.", "a..b"],
}


def no_names(name: str) -> list[str]:
    return [*NO_NAME, *NO_OTHER_NAME.get(name, []), "x" * (LONGEST[name] + 1)]


NO_SERVERS = [
    "a:0",
    "a:65536",
    "::1:9092",
    "[::1]",
    "[x]:1",
    "a",
    "a:",
    ":1",
    "a:b",
    "a:1,",
    ",a:1",
    "a:1,,b:2",
    "a:1, b:2",
    "a:1;b:2",
    "a:1 ",
    "'a':1",
    "http://a:1",
]
NO_WEBSOCKET = ["a:5555", "a", "http://a", "ws://", "ws:a", "ws:///b", "ws://a:b", "ws://a:99999", "ws://[::1", ","]
NO_WEBSOCKET += [
    "ws://a:0",
    "ws://a:",
    "ws://u:p@ss@a",
    "ws://u:p/s@a",
    "ws://u@a",
    "ws://a/#b",
    "ws://a/b c",
    "ws://a /b",
]
NO_WEBSOCKET += ["ws://a\\b", "ws://a,", "ws://a,,ws://b", "ws://a,http://b"]
NO_MOMENT = ["latest", "2026-11-24", "2026-11-24T08:00:00", "2026-11-24T08:00:00+01:00", "2026-13-24T08:00:00Z", "0"]
NO_PROTOCOL = ["ssl", "TLS", "SASL", "SASL_SSL ", "SASL_SSL,SSL", "SCRAM-SHA-512"]
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
NO_PAGE = ["a", "www.a.b", "ws://a", "ftp://a", "http://", "https:///b", "http://a:b", "file:///etc/passwd"]
NO_PAGE += ["http://a:0", "http://a:65536", "http://token@a", "http://u:p@ss@a", "http://a/#b", "http://a/b c"]
BAD = [
    *[(job, name, n, (str(low), str(high))) for job, name, _, low, high in WHOLE for n in [*NO_NUMBER, str(high + 1)]],
    *[(job, name, str(low - 1), (str(low), str(high))) for job, name, _, low, high in WHOLE],
    *[(job, name, n, (f"1 to {LONGEST[name]} ", "a-z, A-Z, 0-9")) for job, name, _ in NAMES for n in no_names(name)],
    *[(job, "KAFKA_BOOTSTRAP_SERVERS", n, ("host:port",)) for job in READERS for n in NO_SERVERS],
    *[(job, "KAFKA_SECURITY_PROTOCOL", n, PROTOCOLS) for job in READERS for n in NO_PROTOCOL],
    *[
        ("collector", "FEED", n, PRESETS)
        for n in ("twitter", "Text", "text ", "simulator,text", "feed.yaml", "presets/text", "../text")
    ],
    *[
        ("collector", "MAX_REJECTED_SHARE", n, ("0", "1"))
        for n in ("-0.1", "1.1", "nan", "inf", "1e400", "half", "50 %", "0,5")
    ],
    *[("collector", "START_FROM", n, ("topic", "live")) for n in ("latest", "Topic", "earliest")],
    *[("aggregator", "REPLAY_FROM", n, ("earliest", "2026-11-24T08:00:00Z")) for n in NO_MOMENT],
]


def error_of(job: str, environment: Mapping[str, str]) -> str:
    """The text of the error, which is one line."""
    with pytest.raises(SettingError) as caught:
        READERS[job](environment)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("job", READERS)
def test_defaults(job: str) -> None:
    assert READERS[job]({}) == DEFAULTS[job]
    assert READERS[job]({"PATH": "/bin", "websocket_url": "x"}) == DEFAULTS[job]


@pytest.mark.parametrize(
    ("job", "name", "field", "text", "value"), GOOD, ids=[f"{g[0]} {g[1]}={g[3]:.20}" for g in GOOD]
)
def test_setting(job: str, name: str, field: str, text: str, value: Any) -> None:
    assert READERS[job]({name: text}) == replace(DEFAULTS[job], **{field: value})


@pytest.mark.parametrize("feed", [name for name in PRESETS if not files_in(vars(load(name)))])
def test_a_preset_has_addresses_of_its_own_which_the_setting_replaces(feed: str) -> None:
    settings = read_collector_settings({"FEED": feed})
    assert settings.feed == load(feed)
    assert settings.websocket_url.read() == tuple(settings.feed.connect["urls"])
    replaced = read_collector_settings({"FEED": feed, "WEBSOCKET_URL": WEBSOCKETS})
    assert replaced == replace(settings, websocket_url=websocket_url(WEBSOCKETS))


def feed_file(folder: Path, text: str) -> str:
    path = folder / "feed.yaml"
    path.write_text(text)
    return str(path)


MINE = """
name: mine
connect:
  urls: [wss://feed.example/ws]
  headers: {Authorization: "Bearer ${file:%s}"}
keepalive: {max_silence: 7}
post: {text: text}
"""


def test_a_feed_may_be_a_file_and_its_secrets_stay_in_their_files(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    settings = read_collector_settings({"FEED": feed_file(tmp_path, MINE % token)})
    assert (settings.feed.name, settings.max_silence_seconds) == ("mine", 7)
    assert settings.websocket_url.read() == ("wss://feed.example/ws",)
    assert "s3cret" not in repr(settings)
    assert b"s3cret" not in pickle.dumps(settings)


def test_a_feed_that_cannot_be_read_is_reported_in_one_line(tmp_path: Path) -> None:
    token = tmp_path / "token"
    path = feed_file(tmp_path, MINE % token)
    error = error_of("collector", {"FEED": path})
    assert error.startswith(f"FEED={path!r}, ${{file:...}}={str(token)!r}: a file that can be read is allowed")
    token.write_text("s3cret\nand more")
    error = error_of("collector", {"FEED": path})
    assert "content not shown" in error
    assert "s3cret" not in error
    feed_file(tmp_path, "name: mine")
    assert error_of("collector", {"FEED": path}) == f"FEED={path!r}: the feed: the key 'post' is missing"
    missing = str(tmp_path / "none.yaml")
    expected = f"FEED={missing!r}: the file {missing!r} cannot be read: No such file or directory"
    assert error_of("collector", {"FEED": missing}) == expected


def test_a_feed_without_an_address_needs_one(tmp_path: Path) -> None:
    path = feed_file(tmp_path, "{name: mine, post: {text: text}}")
    assert error_of("collector", {"FEED": path}).startswith("WEBSOCKET_URL is missing: addresses that start with ws://")
    assert read_collector_settings({"FEED": path, "WEBSOCKET_URL": "ws://a"}).feed.name == "mine"


@pytest.mark.parametrize(("topic", "other"), [("tweets", "KAFKA_TOPIC"), ("tweets.rejected", "KAFKA_REJECTED_TOPIC")])
def test_the_events_have_a_topic_of_their_own(topic: str, other: str) -> None:
    error = error_of("collector", {"KAFKA_EVENTS_TOPIC": topic})
    assert error.startswith(f"KAFKA_EVENTS_TOPIC={topic!r}: a topic other than ")
    assert other in error


def test_a_feed_of_plain_text_may_be_silent() -> None:
    assert read_collector_settings({"FEED": "text"}).max_silence_seconds == 0
    assert read_collector_settings({"FEED": "text", "MAX_SILENCE_SECONDS": "9"}).max_silence_seconds == 9


@pytest.mark.parametrize("job", READERS)
def test_the_tables_above_have_every_setting(job: str) -> None:
    every = {field.name for field in fields(DEFAULTS[job])} - {"websocket_ca_file", "mongodb_ca_file"}
    assert {field for good_job, _, field, _, _ in GOOD if good_job == job} == every
    taken = {name for good_job, name, *_ in GOOD if good_job == job}
    assert {name for bad_job, name, *_ in BAD if bad_job == job} == taken - set(SECRETS)


@pytest.mark.parametrize(("job", "name"), dict.fromkeys(good[:2] for good in GOOD))
def test_empty_is_unset(job: str, name: str) -> None:
    assert READERS[job]({name: ""}) == DEFAULTS[job]


@pytest.mark.parametrize(("job", "name", "text", "allowed"), BAD, ids=[f"{b[0]} {b[1]}={b[2]:.20}" for b in BAD])
def test_wrong_value_is_reported_with_what_is_allowed(job: str, name: str, text: str, allowed: tuple[str, ...]) -> None:
    error = error_of(job, {name: text})
    assert error.startswith(f"{name}={text!r}: ")
    rest = error.removeprefix(f"{name}={text!r}: ")
    assert [part for part in allowed if part not in rest] == []


NO_MONGODB = [
    "localhost:27017",
    "u:s3cret@a",
    "http://u:s3cret@a",
    "mongodb:/u:s3cret@a",
    " mongodb://u:s3cret@a",
    "s3cret",
]
# name: the job, its field, what is allowed, addresses that are not
SECRETS: dict[str, tuple[str, str, str, list[str]]] = {
    "WEBSOCKET_URL": (
        "collector",
        "websocket_url",
        WEBSOCKET_ALLOWED,
        [*NO_WEBSOCKET, "wss//u:s3cret@a?token=s3cret", "ws://a, http://b/s3cret", "ws://u:s3cret#@b"],
    ),
    "WORLDOMETERS_URL": (
        "aggregator",
        "worldometers_url",
        PAGE_ALLOWED,
        [*NO_PAGE, "http//a/s3cret", "https://u:s3cret#@b"],
    ),
    "MONGODB_URI": (
        "aggregator",
        "mongodb_uri",
        MONGODB_ALLOWED,
        NO_MONGODB,
    ),
}
GOOD_SECRETS = {
    "WEBSOCKET_URL": "wss://me:s3cret@a/s3cret?token=s3cret",
    "WORLDOMETERS_URL": "https://a/?token=s3cret",
    "MONGODB_URI": SRV,
}
ENDING = ", without a line break at the end, is allowed"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, case in SECRETS.items() for text in case[3]])
def test_a_wrong_secret_is_reported_without_it(name: str, text: str) -> None:
    job, _, allowed, _ = SECRETS[name]
    assert error_of(job, {name: text}) == f"{name} (not shown): {allowed}{ENDING}"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_by_file_and_is_in_no_text_of_the_settings(name: str, tmp_path: Path) -> None:
    job, field, _, _ = SECRETS[name]
    text, file = GOOD_SECRETS[name], tmp_path / "a secret"
    file.write_text(text)
    given, by_file = READERS[job]({name: text}), READERS[job]({f"{name}_FILE": str(file)})
    assert getattr(given, field).read() == getattr(by_file, field).read()
    assert "s3cret" not in f"{given!r}{by_file!r}"
    # Of the job graph, too, where the settings are.
    assert b"s3cret" not in pickle.dumps(by_file)
    file.write_text(text.replace("s3cret", "an0ther"))
    assert "an0ther" in str(getattr(by_file, field).read())


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("change", ["{}\n", "{}\r\n", "\n{}", "", "\ufeff{}", "s3cret"])
def test_a_file_that_holds_more_or_less_than_a_secret_is_reported_without_it(
    name: str, change: str, tmp_path: Path
) -> None:
    job, _, allowed, _ = SECRETS[name]
    file = tmp_path / "file"
    file.write_bytes(change.format(GOOD_SECRETS[name]).encode())
    assert (
        error_of(job, {f"{name}_FILE": str(file)})
        == f"{name}_FILE={str(file)!r} (content not shown): {allowed}{ENDING}"
    )


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_of_other_bytes_is_reported(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(GOOD_SECRETS[name].encode() + b"\xff")
    assert "(content not shown)" in error_of(SECRETS[name][0], {f"{name}_FILE": str(file)})


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_place_of_its_file_or_beside_it_is_reported_without_it(name: str, tmp_path: Path) -> None:
    job, text = SECRETS[name][0], GOOD_SECRETS[name]
    assert error_of(job, {f"{name}_FILE": text}) == f"{name}_FILE (not shown): an absolute path is allowed"
    both = f"{name}_FILE (not shown): together with {name} nothing is allowed"
    assert error_of(job, {f"{name}_FILE": text, name: text}) == both
    missing = str(tmp_path / "none")
    error = error_of(job, {f"{name}_FILE": missing})
    assert error == f"{name}_FILE={missing!r}: a file that can be read is allowed: No such file or directory"


def test_a_certificate_for_the_feed(tmp_path: Path) -> None:
    ca, other = tmp_path / "ca.pem", tmp_path / "other"
    ca.write_text("-----BEGIN CERTIFICATE-----")
    other.write_text("-----BEGIN PRIVATE KEY-----")
    secure = {"WEBSOCKET_URL": "ws://a, wss://me:s3cret@b"}
    assert read_collector_settings({**secure, "WEBSOCKET_CA_FILE": str(ca)}).websocket_ca_file == str(ca)
    assert read_collector_settings({"WEBSOCKET_CA_FILE": ""}).websocket_ca_file is None
    for variables, file, reason in (
        ({}, str(ca), "without an address wss:// in WEBSOCKET_URL nothing is allowed"),
        (secure, "ca.pem", "an absolute path is allowed"),
        (secure, str(other), "a PEM file with a certificate is allowed"),
        (secure, "/none", "a file that can be read is allowed: No such file or directory"),
    ):
        assert (
            error_of("collector", {**variables, "WEBSOCKET_CA_FILE": file}) == f"WEBSOCKET_CA_FILE={file!r}: {reason}"
        )


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("mongodb://a/?w=1&tls=true", True),
        ("mongodb://a/?SSL=True", True),
        ("mongodb+srv://a/db", True),
        ("mongodb+srv://a/?tls=false", False),
        ("mongodb://a/?tls=false", False),
        ("mongodb://me:tls=true@a", False),
    ],
)
def test_a_certificate_for_the_database(tmp_path: Path, uri: str, taken: bool) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----")
    variables = {"MONGODB_URI": uri, "MONGODB_CA_FILE": str(ca)}
    if taken:
        assert read_aggregator_settings(variables).mongodb_options == {"tlsCAFile": str(ca)}
    else:
        reason = "without tls=true in MONGODB_URI nothing is allowed"
        assert error_of("aggregator", variables) == f"MONGODB_CA_FILE={str(ca)!r}: {reason}"
    assert read_aggregator_settings({"MONGODB_URI": uri}).mongodb_options == {}


@pytest.mark.parametrize("name", ["KAFKA_TOPIC", "WINDOW_SECONDS", "WORLDOMETERS_URL"])
def test_no_error_shows_the_password(name: str) -> None:
    assert "s3cret" not in error_of("aggregator", {"MONGODB_URI": SRV, name: "\\"})


@pytest.mark.parametrize("job", READERS)
@given(data=st.data())
def test_any_value_is_taken_or_reported(job: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted({good[1] for good in GOOD if good[0] == job})))
    text = data.draw(st.text() | st.text("0123456789") | st.text().map("ws://{}".format))
    try:
        settings = READERS[job]({name: text})
    except SettingError as error:
        assert name in str(error)  # noqa: PT017 - both outcomes are right
    else:
        before, after = asdict(DEFAULTS[job]), asdict(settings)
        assert {field for field in after if after[field] != before[field]} <= {
            good[2] for good in GOOD if good[1] == name
        }


NAMED = ("a_B-9.c", "/etc/kafka/..data/pass-word")
USER = dict(zip(("KAFKA_USERNAME", "KAFKA_PASSWORD_FILE"), NAMED, strict=True))
CA = {"KAFKA_CA_FILE": "/etc/kafka_ca/ca.crt"}
SECURE: dict[str, tuple[dict[str, str], KafkaSecurity]] = {
    "SSL": ({}, KafkaSecurity("SSL")),
    "SSL with CA": (CA, KafkaSecurity("SSL", ca_file=CA["KAFKA_CA_FILE"])),
    "SASL_PLAINTEXT": (USER, KafkaSecurity("SASL_PLAINTEXT", *NAMED)),
    "SASL_SSL": (USER, KafkaSecurity("SASL_SSL", *NAMED)),
    "SASL_SSL with CA": (USER | CA, KafkaSecurity("SASL_SSL", *NAMED, CA["KAFKA_CA_FILE"])),
}
NO_USER = [*NO_NAME, "", 'a"b', "a\\b", "a=b", "${file:/a:b}"]
NO_PATH = ["a", "a/b", "./a", "~/a", "/", "/a/", "//a", "/a b", "/a:b", "/a}", "/$a", "/a'", '/a"']
NO_PATH += ["/a\\", "/ä", "/a\n"]
# protocol, what else is set, the name and the value that are wrong, what is allowed
INSECURE = [
    *[(p, USER, "KAFKA_USERNAME", n, ("1 to 200", "a-z, A-Z, 0-9")) for p in PROTOCOLS[2:] for n in NO_USER],
    *[(p, USER, "KAFKA_PASSWORD_FILE", n, ("absolute path",)) for p in PROTOCOLS[2:] for n in ["", *NO_PATH]],
    *[(p, {}, name, value, ("nothing",)) for p in PROTOCOLS[:2] for name, value in USER.items()],
    *[(p, {}, name, "a b", ("nothing",)) for p in PROTOCOLS[:2] for name in USER],
    ("SSL", {}, "KAFKA_CA_FILE", "ca.pem", ("absolute path",)),
    *[("SASL_SSL", USER, "KAFKA_CA_FILE", n, ("absolute path",)) for n in NO_PATH],
    ("PLAINTEXT", {}, *next(iter(CA.items())), ("nothing",)),
    ("SASL_PLAINTEXT", USER, *next(iter(CA.items())), ("nothing",)),
]


@pytest.mark.parametrize("job", READERS)
@pytest.mark.parametrize("case", SECURE)
def test_kafka_security(job: str, case: str) -> None:
    variables, expected = SECURE[case]
    assert READERS[job]({"KAFKA_SECURITY_PROTOCOL": case.partition(" ")[0], **variables}).security == expected


@pytest.mark.parametrize("job", READERS)
@pytest.mark.parametrize(("protocol", "others", "name", "value", "allowed"), INSECURE)
def test_what_kafka_security_lacks_or_does_not_use_is_reported(
    job: str, protocol: str, others: dict[str, str], name: str, value: str, allowed: tuple[str, ...]
) -> None:
    error = error_of(job, {"KAFKA_SECURITY_PROTOCOL": protocol, **others, name: value})
    start = f"{name}={value!r}: with KAFKA_SECURITY_PROTOCOL={protocol} "
    assert error.startswith(start)
    assert [part for part in allowed if part not in error.removeprefix(start)] == []


SAFE = "w=majority&journal=true"
ACKNOWLEDGED = {
    "mongodb://a": f"mongodb://a/?{SAFE}",
    "mongodb://a/": f"mongodb://a/?{SAFE}",
    "mongodb://a/?": f"mongodb://a/?{SAFE}",
    "mongodb://a/db": f"mongodb://a/db?{SAFE}",
    "mongodb://u:p%2F%3F@a:1,b:2/db?replicaSet=r": f"mongodb://u:p%2F%3F@a:1,b:2/db?replicaSet=r&{SAFE}",
    "mongodb+srv://u:p@a.b": f"mongodb+srv://u:p@a.b/?{SAFE}",
    "mongodb://a?w=1": "mongodb://a/?w=1&journal=true",
    "mongodb://a/?W=2&wtimeoutMS=9": "mongodb://a/?W=2&wtimeoutMS=9&journal=true",
    "mongodb://a/?journal=false": "mongodb://a/?journal=false&w=majority",
    "mongodb://a/?wtimeoutMS=9": f"mongodb://a/?wtimeoutMS=9&{SAFE}",
    "mongodb://a/?Journal=false&w=1": "mongodb://a/?Journal=false&w=1",
}


@pytest.mark.parametrize(("uri", "expected"), ACKNOWLEDGED.items(), ids=ACKNOWLEDGED)
def test_writes_are_acknowledged_from_the_journal_unless_the_address_says_else(uri: str, expected: str) -> None:
    assert with_write_concern(uri) == expected
    assert with_write_concern(expected) == expected
    if not uri.startswith("mongodb+srv"):  # which would be looked up
        before, after = (pymongo.uri_parser.parse_uri(address, warn=True) for address in (uri, expected))
        assert dict(after["options"]) == {"w": "majority", "journal": True, **before["options"]}
        assert {**after, "options": None} == {**before, "options": None}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_the_topics_must_differ(read: Read) -> None:
    with pytest.raises(SettingError, match="KAFKA_REJECTED_TOPIC='t': a topic other than KAFKA_TOPIC"):
        read({"KAFKA_TOPIC": "t", "KAFKA_REJECTED_TOPIC": "t"})
