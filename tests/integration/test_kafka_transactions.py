"""A collector without state aborts the transactions that earlier runs left open."""

import json

import pytest
from confluent_kafka import KafkaException, Producer

from jobs.kafka_transactions import abort_transactions
from jobs.settings import read_collector_settings
from jobs.transactional_ids import TransactionalIds
from local.stack import Stack
from tests.support.topics import topic

IDS = TransactionalIds("test", "collector-simulator", "left-open", "run")
SECONDS = 30


def test_only_transactions_of_earlier_runs_are_aborted(stack: Stack) -> None:
    kafka = stack.settings.kafka
    with topic(kafka, "left-open") as published:

        def begin(name: str) -> Producer:
            producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
            producer.init_transactions(SECONDS)
            producer.begin_transaction()
            producer.produce(published.name, json.dumps({"text": name}), partition=0)
            assert producer.flush(SECONDS) == 0
            return producer

        earlier_id, current_id = f"{IDS.of_all_runs}earlier-0-7", f"{IDS.of_this_run}-0-1"
        left_open, current = begin(earlier_id), begin(current_id)
        settings = read_collector_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka})
        assert abort_transactions(settings, "", IDS) == [earlier_id]
        current.commit_transaction(SECONDS)
        assert published.posts() == [{"text": current_id}]
        with pytest.raises(KafkaException):
            left_open.commit_transaction(SECONDS)
