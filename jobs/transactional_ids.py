"""The names of the jobs' transactions in Kafka. No I/O."""

from typing import NamedTuple


class TransactionalIds(NamedTuple):
    """The transactional ids of one job. In the whole of Kafka, one producer at a time may use a transactional id.

    installation: differs between two installations on one Kafka; job: with its feed; topic: that the job
    works on; run: differs with each submission. Flink's connector makes an id for each checkpoint: this prefix, the
    number of the subtask and that of the checkpoint. A job without state counts its checkpoints from 1 again and asks
    Kafka about each id that it might find in use. With a run of its own it finds none, however long the job before ran.
    """

    installation: str
    job: str
    topic: str
    run: str

    @property
    def of_all_runs(self) -> str:
        """What the ids of every run begin with."""
        return f"{self.installation}/{self.job}/{self.topic}/"

    @property
    def of_this_run(self) -> str:
        return f"{self.of_all_runs}{self.run}"

    def is_of_an_earlier_run(self, transactional_id: str) -> bool:
        return transactional_id.startswith(self.of_all_runs) and not transactional_id.startswith(self.of_this_run)
