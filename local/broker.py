"""One Apache Kafka broker (KRaft, no containers) and the topics of the pipeline."""

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from jobs.defaults import EVENTS_TOPIC, REJECTED_TOPIC, TWEETS_PARTITIONS, TWEETS_TOPIC
from local.process import Program, StackError, owned_environment, wait_until
from local.settings import Settings

CLUSTER_ID = "ZGF0YS1jb2xsZWN0aW9uLQ"  # any 16 bytes in base64; constant, since each data folder is of one cluster
# The JVM shares the machine with the other parts: the serial garbage collector needs the least.
JAVA = ("java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC")
# What happened to the feed: 30 days, and at most about 80 MB.
EVENTS_CONFIG = {"retention.ms": "2592000000", "retention.bytes": "67108864", "segment.bytes": "16777216"}


class Broker:
    """One broker. Call `format` once for an empty data folder; then it can be started, killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.bootstrap = settings.kafka
        self.data = settings.run / "kafka"
        self.properties = settings.run / "kafka.properties"
        self.logging = settings.run / "kafka-log4j2.properties"
        self.classes = f"{settings.jars / 'kafka'}/*"
        self.ports = settings.ports
        self.program = Program(
            "Kafka",
            [
                *JAVA,
                f"-Dlog4j2.configurationFile={self.logging}",
                "-cp",
                self.classes,
                "kafka.Kafka",
                self.properties,
            ],
            settings.logs / "kafka.log",
            owner=settings.state,
        )

    def format(self, properties: str = "", options: Sequence[str] = ()) -> None:
        """Write the configuration and format the data folder. Raises StackError.

        properties: lines of server.properties that replace those of the stack
        options: further options of Kafka's StorageTool
        """
        self.properties.parent.mkdir(parents=True, exist_ok=True)
        defaults = broker_properties(self.data, self.ports.kafka, self.ports.kafka_controller)
        self.properties.write_text(defaults + properties)
        self.logging.write_text(LOGGING)
        command = [*JAVA, "-cp", self.classes, "kafka.tools.StorageTool", "format"]
        command += ["--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", str(self.properties), *options]
        result = subprocess.run(
            command,
            env=owned_environment(self.program.owner),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if result.returncode != 0:
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
            raise StackError(f"Kafka's data folder {self.data} cannot be formatted: {lines[-1]}")

    def start(self) -> None:
        self.program.start()

    def await_ready(self, seconds: float = 60) -> None:
        """Wait until the broker answers a client. Raises StackError."""
        wait_until(self.answers, f"Kafka to answer at {self.bootstrap}", seconds, program=self.program)

    def answers(self) -> bool:
        try:
            with contextlib.closing(admin(self.bootstrap)) as client:
                return bool(client.describe_cluster())
        except (KafkaError, OSError):
            return False


def admin(bootstrap: str) -> KafkaAdminClient:
    return KafkaAdminClient(
        bootstrap_servers=bootstrap, client_id="local", request_timeout_ms=5_000, bootstrap_timeout_ms=5_000
    )


def create_topics(bootstrap: str) -> None:
    """Create the topics of posts, rejections and events where they are missing. Raises StackError."""
    wanted = [
        NewTopic(TWEETS_TOPIC, num_partitions=TWEETS_PARTITIONS, replication_factor=1),
        NewTopic(REJECTED_TOPIC, num_partitions=1, replication_factor=1),
        NewTopic(EVENTS_TOPIC, num_partitions=1, replication_factor=1, topic_configs=EVENTS_CONFIG),
    ]
    try:
        with contextlib.closing(admin(bootstrap)) as client:
            for topic in wanted:
                with contextlib.suppress(TopicAlreadyExistsError):
                    client.create_topics([topic], wait_for_metadata=True)
    except (KafkaError, OSError) as error:
        raise StackError(f"the topics cannot be created at {bootstrap}: {error!r}") from error


def read_topic(bootstrap: str, topic: str) -> list[bytes]:
    """The committed values of a topic from its beginning to its present end."""
    with contextlib.closing(
        KafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        values: list[bytes] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=500, max_records=5_000).values():
                values.extend(record.value for record in records)
        return values


def broker_properties(data: Path, port: int, controller_port: int) -> str:
    """server.properties of one node that is broker and controller and listens on the loopback interface only."""
    return f"""\
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node holds every replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
# A node killed with -9 reads its whole log again at its next start: small segments keep that short.
log.segment.bytes=134217728
# No topic is compacted but Kafka's own, which are small here. The default takes 128 MiB of the heap at the start.
log.cleaner.dedupe.buffer.size=4194304
# The controller writes a record that says nothing, so that observers see that it works. The default is twice a second.
metadata.max.idle.interval.ms=10000
# For each partition: a demo that runs for weeks keeps the posts of some days.
log.retention.bytes=1073741824
# Each checkpoint uses a new transactional id and a new producer id. The broker holds them in memory until they expire.
transactional.id.expiration.ms=259200000
producer.id.expiration.ms=3600000
"""


LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
"""
