"""The ids of the jobs' transactions in Kafka. No I/O."""

from typing import NamedTuple


class TransactionalIds(NamedTuple):
    """The transactional ids of one job. In a Kafka cluster, one producer at a time may use a transactional id.

    installation: differs between two installations on the same Kafka cluster.
    job: name of the job and its feed.
    topic: the topic of posts.
    run: differs for each submission.

    Flink's connector makes one id per checkpoint: this prefix, the number of the subtask, and the number of the
    checkpoint. A job without state counts checkpoints from 1 again, and asks Kafka about each id that may be in use.
    With a new `run` none is in use, however long the previous run was.
    """

    installation: str
    job: str
    topic: str
    run: str

    @property
    def of_all_runs(self) -> str:
        """The prefix of the ids of every run."""
        return f"{self.installation}/{self.job}/{self.topic}/"

    @property
    def of_this_run(self) -> str:
        return f"{self.of_all_runs}{self.run}"

    def is_of_an_earlier_run(self, transactional_id: str) -> bool:
        return transactional_id.startswith(self.of_all_runs) and not transactional_id.startswith(self.of_this_run)
