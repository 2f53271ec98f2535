"""Which transactional ids belong to an earlier run of a job."""

from jobs.transactional_ids import TransactionalIds

IDS = TransactionalIds("here.demo", "collector-simulator", "tweets", "1a2b3c4d")


def test_an_id_names_installation_job_topic_and_run() -> None:
    assert IDS.of_this_run == "here.demo/collector-simulator/tweets/1a2b3c4d"


def test_only_transactions_of_earlier_runs_of_the_same_job_are_ended() -> None:
    ids = {
        "an earlier run": "here.demo/collector-simulator/tweets/99999999-0-17",
        "this run": "here.demo/collector-simulator/tweets/1a2b3c4d-0-17",
        "another release": "there.demo/collector-simulator/tweets/99999999-0-17",
        "another feed": "here.demo/collector-text/tweets/99999999-0-17",
        "another topic": "here.demo/collector-simulator/tweets.2/99999999-0-17",
        "another job": "here.demo/aggregator/tweets/99999999-0-17",
        "another program": "tweets",
    }
    assert [who for who, name in ids.items() if IDS.is_of_an_earlier_run(name)] == ["an earlier run"]
