"""Both jobs on a Kafka with TLS and SCRAM. Each user has only the rights that it needs. All secrets are in files."""

import contextlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import GroupAuthorizationFailedError
from pymongo.errors import OperationFailure

from console.settings import read_settings as read_console_settings
from console.sources.kafka import KafkaTopics
from jobs import kafka_topic
from jobs.defaults import DATABASE, EVENTS_TOPIC, REJECTED_TOPIC, TWEETS_PARTITIONS, TWEETS_TOPIC
from jobs.kafka_security import client_options, read_files
from jobs.kafka_topic import NotReadyError
from jobs.settings import read_collector_settings
from local.broker import Broker, admin
from local.process import owned_processes
from local.settings import Ports, Settings
from local.stack import JOBS, Stack
from local.store import client
from simulator.watchdog import clients as watchdog_clients
from simulator.watchdog.settings import read_settings as read_watchdog_settings
from tests.integration.conftest import RATE, free_ports
from tests.support.counting import assert_complete, numbers
from tests.support.stored import documents, newest_end
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value

COLLECTION = "secure"
# Each contains `s3cret`. A test searches for it everywhere.
PASSWORDS = {
    "collector": "col s3cret $x ${file:/a:b} '#/*",
    "aggregator": "agg-s3cret",
    "watchdog": "dog-s3cret",
    "console": "con-s3cret",
}
DATABASE_USER, DATABASE_PASSWORD, NEW_DATABASE_PASSWORD = "secret-test", "db-s3cret", "new-db-s3cret"
GROUPS = ("data-collection-aggregator", "data-collection-aggregator-rejections")
# The rights of the users: user, resource type, name, pattern, operation. READ and WRITE include DESCRIBE.
LITERAL, PREFIXED = ACLResourcePatternType.LITERAL, ACLResourcePatternType.PREFIXED
ACCESS = [
    ("collector", ResourceType.TOPIC, TWEETS_TOPIC, LITERAL, ACLOperation.READ),
    ("collector", ResourceType.TOPIC, TWEETS_TOPIC, LITERAL, ACLOperation.WRITE),
    ("collector", ResourceType.TOPIC, REJECTED_TOPIC, LITERAL, ACLOperation.READ),
    ("collector", ResourceType.TOPIC, REJECTED_TOPIC, LITERAL, ACLOperation.WRITE),
    ("collector", ResourceType.TOPIC, EVENTS_TOPIC, LITERAL, ACLOperation.WRITE),
    ("collector", ResourceType.TRANSACTIONAL_ID, "data-collection/collector-", PREFIXED, ACLOperation.WRITE),
    ("aggregator", ResourceType.TOPIC, TWEETS_TOPIC, LITERAL, ACLOperation.READ),
    ("aggregator", ResourceType.TOPIC, REJECTED_TOPIC, LITERAL, ACLOperation.WRITE),
    ("aggregator", ResourceType.TRANSACTIONAL_ID, "data-collection/aggregator/", PREFIXED, ACLOperation.WRITE),
    *[("aggregator", ResourceType.GROUP, group, LITERAL, ACLOperation.READ) for group in GROUPS],
    ("watchdog", ResourceType.TOPIC, TWEETS_TOPIC, LITERAL, ACLOperation.DESCRIBE),
    *[
        ("console", ResourceType.TOPIC, name, LITERAL, ACLOperation.READ)
        for name in (TWEETS_TOPIC, REJECTED_TOPIC, EVENTS_TOPIC)
    ],
    ("console", ResourceType.GROUP, GROUPS[0], LITERAL, ACLOperation.DESCRIBE),
]


@dataclass
class SecureKafka:
    """A broker with two listeners: `bootstrap` with TLS and SCRAM, and one without, which `tweets` uses."""

    bootstrap: str
    tweets: Topic
    folder: Path

    def environment(self, user: str, **other: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_USERNAME": user,
            "KAFKA_PASSWORD_FILE": str(self.folder / user),
            "KAFKA_CA_FILE": str(self.folder / "ca.pem"),
            "MONGODB_COLLECTION": COLLECTION,
            **other,
        }


@pytest.fixture(scope="module")
def kafka(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "jars").symlink_to(stack.settings.jars)
    ports = free_ports()
    broker = Broker(Settings(state=folder, ports=ports))
    broker.program.owner = stack.settings.state  # the next run ends it if this process is killed
    for user, password in PASSWORDS.items():
        (folder / user).write_text(password)
    make_certificate(folder)
    users = [f"SCRAM-SHA-512=[name={user},password={password}]" for user, password in PASSWORDS.items()]
    broker.format(secure_properties(folder, ports), [part for user in users for part in ("--add-scram", user)])
    broker.start()
    try:
        broker.await_ready()
        with contextlib.closing(admin(broker.bootstrap)) as administrator:
            administrator.create_topics([NewTopic(EVENTS_TOPIC, 1, 1)], wait_for_metadata=True)
        create_acls(broker.bootstrap)
        with topic(broker.bootstrap, TWEETS_TOPIC) as tweets:
            yield SecureKafka(f"127.0.0.1:{secure_port(ports)}", tweets, folder)
    finally:
        broker.program.stop()


def make_certificate(folder: Path) -> None:
    """Create broker.p12, a key for 127.0.0.1 with a self-signed certificate, and ca.pem, that certificate."""
    store = ("-alias", "broker", "-storetype", "PKCS12", "-keystore", folder / "broker.p12", "-storepass", "changeit")
    generate = ("-keyalg", "RSA", "-validity", "2", "-dname", "CN=broker", "-ext", "SAN=IP:127.0.0.1")
    for command in (("-genkeypair", *store, *generate), ("-exportcert", *store, "-rfc", "-file", folder / "ca.pem")):
        subprocess.run(["keytool", *command], check=True, capture_output=True, timeout=60)


def secure_port(ports: Ports) -> int:
    return ports.flink  # no Flink is started on these ports


def secure_properties(folder: Path, ports: Ports) -> str:
    return f"""\
listeners=PLAINTEXT://127.0.0.1:{ports.kafka},SECURE://127.0.0.1:{secure_port(ports)},CONTROLLER://127.0.0.1:{ports.kafka_controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{ports.kafka},SECURE://127.0.0.1:{secure_port(ports)}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PKCS12
ssl.keystore.location={folder / "broker.p12"}
ssl.keystore.password=changeit
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


def create_acls(bootstrap: str) -> None:
    acls = [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, pattern))
        for user, kind, name, pattern, operation in ACCESS
    ]
    with contextlib.closing(admin(bootstrap)) as client:
        assert len(client.create_acls(acls)["succeeded"]) == len(acls)


@pytest.fixture(scope="module")
def secret_files(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings with the paths of the files that hold the URIs of feed, page and database. Each URI has a secret."""
    settings, folder = stack.settings, tmp_path_factory.mktemp("secrets")
    with client(settings.store_uri) as connection:
        roles = [{"role": "readWrite", "db": DATABASE}]
        connection.admin.command("createUser", DATABASE_USER, pwd=DATABASE_PASSWORD, roles=roles)
    addresses = {
        "MONGODB_URI": database_address(stack, DATABASE_PASSWORD),
        "WEBSOCKET_URL": settings.simulator_url.replace("://", "://me:ws-s3cret@"),
        "WORLDOMETERS_URL": f"{settings.worldometers_url}?token=page-s3cret",
    }
    for name, address in addresses.items():
        (folder / name).write_text(address)
    by_file = {f"{name}_FILE": str(folder / name) for name in addresses}
    return {**dict.fromkeys(addresses, ""), **by_file, "WORLDOMETERS_REFRESH_SECONDS": "1"}


def database_address(stack: Stack, password: str) -> str:
    return f"{stack.settings.store_uri.replace('://', f'://{DATABASE_USER}:{password}@')}/?authSource=admin"


@pytest.fixture(scope="module")
def jobs(stack: Stack, kafka: SecureKafka, secret_files: dict[str, str]) -> Iterator[None]:
    def submit(job: str) -> str:
        return stack.submit(job, kafka.environment(job.partition("_")[0], **secret_files))

    with ThreadPoolExecutor() as pool:
        started = list(pool.map(submit, JOBS))
    yield
    for identity in started:
        stack.flink.cancel(identity)


@pytest.mark.usefixtures("jobs")
def test_the_collector_publishes_each_post_once(kafka: SecureKafka) -> None:
    await_value(lambda: len(kafka.tweets.posts()) > 10 * RATE, "ten seconds of posts", 60)
    found = numbers(kafka.tweets.posts())
    # Kafka commits a transaction partition by partition.
    last = found[-1] - int(4 * RATE)
    assert_complete([number for number in found if number <= last], last)


@pytest.mark.usefixtures("jobs")
def test_the_aggregator_writes_documents_and_rejections_and_commits_offsets(stack: Stack, kafka: SecureKafka) -> None:
    kafka.tweets.publish([b"no JSON"])
    await_value(lambda: documents(stack.settings.store_uri, DATABASE, COLLECTION), "a document", 60)
    rejections = await_value(kafka.tweets.rejections, "the rejection", 60)
    assert [rejection["record"] for rejection in rejections] == ["no JSON"]
    with contextlib.closing(admin(kafka.tweets.bootstrap)) as client:
        await_value(lambda: all(client.list_group_offsets(list(GROUPS)).values()), "offsets of both groups", 30)


@pytest.fixture(scope="module")
def after_outages(stack: Stack, jobs: None, secret_files: dict[str, str]) -> None:  # noqa: ARG001
    """Page, feed and database were down, the jobs logged it, and the password of the database has changed."""
    flink, (collector, aggregator) = stack.flink, (stack.jobs[job] for job in JOBS)
    store = stack.store.program
    if store is None:
        pytest.skip("the stack does not run the database")
    newest = newest_end(stack.settings.store_uri, DATABASE, COLLECTION)
    stack.worldometers.kill()
    await_value(lambda: flink.metric(aggregator, "enrichment_failures"), "a failure to read the page", 60)
    stack.worldometers.start()
    stack.simulator.kill()
    await_value(lambda: flink.metric(collector, "collector_reconnects"), "a failure to read the feed", 60)
    stack.simulator.start()
    with client(stack.settings.store_uri) as connection:
        connection.admin.command("updateUser", DATABASE_USER, pwd=NEW_DATABASE_PASSWORD)
    Path(secret_files["MONGODB_URI_FILE"]).write_text(database_address(stack, NEW_DATABASE_PASSWORD))
    store.stop()  # not killed: a killed SecantusDB may lose a user
    log = stack.settings.logs / "taskmanager.log"
    await_value(lambda: b"pymongo.errors" in log.read_bytes(), "a failure to write a document", 90)
    store.start()
    has_newer_document = lambda: newest_end(stack.settings.store_uri, DATABASE, COLLECTION) > newest  # noqa: E731
    await_value(has_newer_document, "a new document", 120)
    await_value(lambda: flink.all_running(aggregator), "the aggregator to run", 60)


@pytest.mark.usefixtures("after_outages")
def test_the_jobs_use_a_new_password_of_the_database_without_a_new_submission(stack: Stack) -> None:
    """The aggregator wrote documents after the change. The old password is refused, so it used the new one."""
    with (
        client(database_address(stack, DATABASE_PASSWORD)) as connection,
        pytest.raises(OperationFailure, match=r"(?i)auth"),
    ):
        connection[DATABASE].command("ping")


@pytest.mark.usefixtures("after_outages")
def test_no_secret_is_in_flinks_files_or_api_or_in_a_process(stack: Stack) -> None:
    flink = stack.flink
    parts = ("", "/plan", "/config", "/exceptions")
    paths = [f"/jobs/{stack.jobs[job]}{part}" for job in JOBS for part in parts]
    paths += ["/jobmanager/config", "/jobmanager/environment"]
    texts = {path: json.dumps(flink.get(path)).encode() for path in paths}
    for folder in (stack.settings.logs, flink.home):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # an old checkpoint
                texts[str(path)] = path.read_bytes()
    for process in owned_processes(stack.settings.state):
        texts[f"process {process.pid}"] = "\0".join([*process.environ().values(), *process.cmdline()]).encode()
    assert len(texts) > 20
    assert b"{}" not in texts.values()
    assert [name for name, text in texts.items() if b"s3cret" in text] == []


def test_a_wrong_password_is_logged_and_a_new_one_is_used(
    kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    monkeypatch.setattr(kafka_topic, "BOOTSTRAP_TIMEOUT_MS", 10_000)
    settings = read_collector_settings(kafka.environment("collector", KAFKA_PASSWORD_FILE=str(file)))

    refused = f"Kafka at KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap!r} refuses this user with the password in"
    attempts = itertools.count(1)

    def correct_password(_: float) -> None:
        """On a busy machine, kafka-python may see only that the broker closes the connection."""
        if f"KAFKA_USERNAME='collector': {refused} KAFKA_PASSWORD_FILE={str(file)!r}" in caplog.text:
            file.write_text(PASSWORDS["collector"])
        assert next(attempts) < 12, "no attempt logged the refused password"

    assert kafka_topic.count_partitions_patiently(settings, correct_password) == TWEETS_PARTITIONS
    assert "waiting for Kafka: " in caplog.text


def test_the_watchdog_sees_the_topic_grow_without_the_right_to_read_it(kafka: SecureKafka) -> None:
    watched_topic = watchdog_clients.Topic(read_watchdog_settings(kafka.environment("watchdog")).kafka)
    with contextlib.closing(watched_topic):
        before = watched_topic.end()
        assert before is not None
        kafka.tweets.publish([b"no JSON"])
        await_value(lambda: (watched_topic.end() or 0) > before, "the topic to grow", 10)


@pytest.mark.parametrize(
    "changes",
    [{"KAFKA_PASSWORD_FILE": "{folder}/aggregator"}, {"KAFKA_PASSWORD_FILE": "/none"}, {"KAFKA_TOPIC": "other"}],
)
def test_the_watchdog_gets_no_end_offset_from_a_kafka_that_it_may_not_use(
    kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    monkeypatch.setattr(watchdog_clients, "KAFKA_TIMEOUT_MS", 2_000)
    changed = {name: value.replace("{folder}", str(kafka.folder)) for name, value in changes.items()}
    watched_topic = watchdog_clients.Topic(read_watchdog_settings(kafka.environment("watchdog", **changed)).kafka)
    with contextlib.closing(watched_topic):
        assert watched_topic.end() is None


@pytest.mark.usefixtures("jobs")
def test_the_console_reads_the_topics_and_may_not_commit_an_offset(kafka: SecureKafka) -> None:
    settings = read_console_settings(kafka.environment("console"))
    with contextlib.closing(KafkaTopics(settings.aggregator, settings.events_topic)) as topics:
        await_value(lambda: (read := topics.read()).posts and read.events, "posts and events", 60)
        await_value(lambda: topics.read().lag is not None, "the aggregator's offsets", 60)
    security = settings.aggregator.security
    options = client_options(security, read_files(security))
    with contextlib.closing(
        KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=GROUPS[0], enable_auto_commit=False, **options)
    ) as consumer:
        partition = TopicPartition(TWEETS_TOPIC, 0)
        consumer.assign([partition])
        assert consumer.committed(partition) is not None
        with pytest.raises(GroupAuthorizationFailedError):
            consumer.commit({partition: OffsetAndMetadata(0, "", -1)})


UNUSABLE = {
    "authority": ({"KAFKA_CA_FILE": ""}, "certificate verify failed"),
    "host": ({"KAFKA_BOOTSTRAP_SERVERS": "localhost:{port}"}, "certificate is not valid for 'localhost'"),
    "protocol": ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_CA_FILE": ""}, "KAFKA_SECURITY_PROTOCOL"),
    "topic": ({"KAFKA_TOPIC": "other"}, "no such topic that KAFKA_USERNAME='collector' may describe"),
}


@pytest.mark.parametrize(("changes", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_the_error_names_the_reason_why_kafka_cannot_be_used(
    kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str
) -> None:
    monkeypatch.setattr(kafka_topic, "BOOTSTRAP_TIMEOUT_MS", 2_000)
    port = kafka.bootstrap.rpartition(":")[2]
    changed = {name: value.replace("{port}", port) for name, value in changes.items()}
    settings = read_collector_settings(kafka.environment("collector", **changed))
    with pytest.raises(NotReadyError, match=reason):
        kafka_topic.count_partitions(settings, PASSWORDS["collector"])
