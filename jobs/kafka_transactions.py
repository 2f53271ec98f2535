"""Aborts the transactions that earlier runs of a job left open in Kafka."""

import contextlib
import logging

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from jobs.kafka_security import client_options
from jobs.patience import patiently
from jobs.settings import CollectorSettings
from jobs.transactional_ids import TransactionalIds

log = logging.getLogger(__name__)

INIT_TIMEOUT_MS = 30_000


def abort_transactions(settings: CollectorSettings, password: str, ids: TransactionalIds) -> list[str]:
    """Abort the open transactions of earlier runs. Returns their ids. Raises KafkaError.

    Readers of committed records wait behind an open transaction until Kafka aborts it at its timeout, after minutes.
    """
    options = {"bootstrap_servers": settings.bootstrap_servers, **client_options(settings.security, password)}
    with contextlib.closing(KafkaAdminClient(**options)) as admin:
        by_broker = admin.list_transactions(state_filters=["Ongoing"])
    open_ids = [each.transactional_id for listed in by_broker.values() for each in listed]
    aborted = [name for name in open_ids if ids.is_of_an_earlier_run(name)]
    for name in aborted:
        # A new producer with the same id aborts the transaction that the previous one left open (KIP-98).
        producer = KafkaProducer(transactional_id=name, max_block_ms=INIT_TIMEOUT_MS, **options)
        with contextlib.closing(producer):
            producer.init_transactions()
        log.info("transaction %s of an earlier run is aborted", name)
    return aborted


def abort_transactions_patiently(settings: CollectorSettings, password: str, ids: TransactionalIds) -> None:
    """The same as `abort_transactions`. Waits until Kafka is available, and logs each failure."""
    patiently(
        lambda: abort_transactions(settings, password, ids),
        (KafkaError, OSError),
        lambda error: f"Kafka at {settings.bootstrap_servers}, to abort transactions of an earlier run: {error!r}",
    )
