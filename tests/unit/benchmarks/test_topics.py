"""The windows that the benchmarks of the aggregator count."""

from benchmarks import loops, topics


def test_the_windows_that_count_follow_each_other() -> None:
    starts = topics.window_starts()
    assert len(starts) == topics.WINDOWS
    assert topics.window_starts(1)[:-1] == starts[1:]


def test_each_window_has_a_key_of_its_own() -> None:
    assert len(set(topics.window_keys("posts"))) == topics.WINDOWS
    assert len(set(topics.window_keys("posts", 4))) == 4 * topics.WINDOWS
    assert not set(topics.window_keys("posts")) & set(topics.window_keys("others"))


def test_the_topic_goes_on_for_longer_than_the_peers_wait_for_late_posts() -> None:
    assert loops.GRACE_MS < (topics.RUN_OUT - 1) * loops.WINDOW_MS
