"""The rejections as a command: `python -m jobs.rejected`, with the collector's environment. See work.py.

Without one of these settings it lists the rejections that are neither replayed nor discarded:
SHOW=<partition>/<offset>: shows one of them completely.
REPLAY=<code>: sends the frames of these through today's mapping into the topic; `all`: of all.
DISCARD=<code>: marks these as done; `all`: all.

Exit status: 0 if it could be done, 2 if Kafka cannot be read or written or a setting is wrong, 130 after Ctrl-C.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jobs.audit.kafka_reader import KafkaReader, Notify, ProgressLine, UnreachableError, open_consumer
from jobs.audit.reader import PartitionRange
from jobs.cleaning import clean
from jobs.command import interruptible, silence_kafka, write
from jobs.feeds.definition import Definition
from jobs.rejected.entries import PLACE, Done, Place, find_done, open_entries, place_of
from jobs.rejected.kafka_broker import KafkaBroker
from jobs.rejected.mapping import Mapper
from jobs.rejected.overview import details, grouped, overview
from jobs.rejected.work import ALL, Names, Work
from jobs.settings import NAME, NAME_ALLOWED, EnvReader, KafkaSecurity, SettingError

CODE = "[ -~]{1,200}"
CODE_ALLOWED = f"`{ALL}`, or a code that `make rejected` lists,"


@dataclass(frozen=True)
class Settings:
    """The settings of the collector that the command needs, and what it is asked for."""

    bootstrap_servers: str
    security: KafkaSecurity
    topic: str
    rejected_topic: str
    feed: Definition
    id_prefix: str
    show: Place | None
    replay: str
    discard: str

    @property
    def names(self) -> Names:
        return Names(self.topic, self.rejected_topic, self.feed.name)

    @property
    def transactional_id(self) -> str:
        """The same in every run. The collector's own ids have a slash more, and its user may write with this one."""
        return f"{self.id_prefix}/collector-rejected/{self.topic}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingError."""
    read = EnvReader(environment)
    topic, rejected_topic = read.topics()
    asked = [name for name in ("SHOW", "REPLAY", "DISCARD") if environment.get(name)]
    if len(asked) > 1:
        raise SettingError(f"{asked[1]}: together with {asked[0]} nothing is allowed")
    return Settings(
        bootstrap_servers=read.servers("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        security=read.security(),
        topic=topic,
        rejected_topic=rejected_topic,
        feed=read.feed("FEED", "simulator"),
        id_prefix=read.text("KAFKA_ID_PREFIX", "data-collection", NAME, NAME_ALLOWED),
        show=place_of(read.text("SHOW", "", f"({PLACE})?", "the partition and the offset of a rejection, like 0/123,")),
        replay=read.text("REPLAY", "", f"({CODE})?", CODE_ALLOWED),
        discard=read.text("DISCARD", "", f"({CODE})?", CODE_ALLOWED),
    )


def run(environment: Mapping[str, str], notify: Notify = lambda _: None) -> Iterator[str]:
    """The lines of the output. Raises SettingError, and UnreachableError if Kafka cannot be read or written."""
    settings = read_settings(environment)
    if settings.replay or settings.discard:
        return work(settings, notify)
    return listing(settings, notify) if settings.show is None else shown(settings, settings.show, notify)


def work(settings: Settings, notify: Notify) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        connection = settings.bootstrap_servers, settings.security
        broker = KafkaBroker(*connection, settings.topic, settings.transactional_id, stack, notify)
        task = Work(broker, settings.names, lambda: int(time.time() * 1000))
        if settings.discard:
            result = task.discard(settings.discard)
        else:
            result = task.replay(settings.replay, Mapper(settings.feed, clean))
    return result.lines


class Contents(NamedTuple):
    """The topic of rejections: what it holds, and what of it is done."""

    reader: KafkaReader
    ranges: list[PartitionRange]
    done: Done


@contextlib.contextmanager
def contents(settings: Settings, notify: Notify) -> Iterator[Contents]:
    with open_consumer(settings.bootstrap_servers, settings.security) as consumer:
        reader = KafkaReader(consumer, ProgressLine(notify))
        held = reader.offset_ranges(settings.rejected_topic)
        ranges = [PartitionRange(number, *each) for number, each in held.items() if each.begin < each.end]
        yield Contents(reader, ranges, find_done(reader.records(settings.rejected_topic, ranges) if ranges else ()))


def listing(settings: Settings, notify: Notify) -> Iterator[str]:
    with contents(settings, notify) as (reader, ranges, done):
        records = reader.records(settings.rejected_topic, ranges) if ranges else ()
        groups = grouped(open_entries(records, done, settings.topic))
    names = settings.names
    return overview(groups, done, topic=names.topic, rejected_topic=names.rejected_topic, feed=names.feed)


def shown(settings: Settings, place: Place, notify: Notify) -> Iterator[str]:
    with contents(settings, notify) as (reader, ranges, done):
        held = [each for each in ranges if each.partition == place.partition and each.begin <= place.offset < each.end]
        wanted = [each._replace(begin=place.offset, end=place.offset + 1) for each in held]
        records = list(reader.records(settings.rejected_topic, wanted)) if wanted else []
    for entry in open_entries(records, Done(), settings.topic):
        yield from details(entry, settings.topic, settings.feed.name)
        if place in done:
            yield "it is replayed or discarded already"
        return
    raise SettingError(f"SHOW={str(place)!r}: topic {settings.rejected_topic} holds no rejection there")


def main(environment: Mapping[str, str] = os.environ) -> int:
    silence_kafka()
    try:
        write(sys.stdout, run(environment, lambda line: write(sys.stderr, [line])))
    except KeyboardInterrupt:
        write(sys.stderr, ["stopped; what was committed stays, and nothing else was written"])
        return 130
    except (SettingError, UnreachableError) as error:
        write(sys.stderr, [f"error: {error}"])
        return 2
    return 0


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
