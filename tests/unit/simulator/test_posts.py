import json
import math
import os
import re
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import posts
from simulator.posts import PostSchedule, feed_id, post_text

ROOT = Path(__file__).parents[3]
SAMPLE = [post_text(1, n) for n in range(1, 20_001)]
URL = re.compile(r"(?:https?://|www\.)\S+")


def share(pattern: str) -> float:
    return sum(bool(re.search(pattern, text)) for text in SAMPLE) / len(SAMPLE)


def test_text_depends_on_seed_and_number_alone_in_every_process() -> None:
    program = "import json; from simulator.posts import *; print(json.dumps([post_text(7, n) for n in range(1, 500)]))"
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=True
        )
        assert json.loads(done.stdout) == [post_text(7, n) for n in range(1, 500)]


def test_seeds_and_numbers_give_different_texts() -> None:
    assert len(set(SAMPLE)) > 0.95 * len(SAMPLE)
    same = sum(post_text(2, n) == text for n, text in enumerate(SAMPLE, start=1))
    assert same < 0.001 * len(SAMPLE)
    assert post_text(1, 12) != post_text(11, 2)  # the two numbers are not just written one after the other


def test_lengths_are_lifelike() -> None:
    lengths = sorted(map(len, SAMPLE))
    assert 85 <= sum(lengths) / len(lengths) <= 110
    assert lengths[len(lengths) // 20] < 60
    assert lengths[-len(lengths) // 20] > 140


def test_no_post_can_be_longer_than_280_characters() -> None:
    def longest(options: tuple[str, ...]) -> int:
        return max(map(len, options))

    phrases = max(3 * longest(options) + len(" ") for options in posts.PHRASES.values())
    parts = (posts.RETWEETS, posts.MENTIONS, posts.JOINTS + posts.ENTITY_JOINTS, posts.EMOJI, posts.HASHTAGS)
    link = max(len(link % ("0" * 10)) for link in posts.LINKS)
    assert max(map(len, SAMPLE)) <= phrases + sum(map(longest, parts)) + link <= 280


def test_letters_are_left_when_links_hashes_and_rt_are_removed() -> None:
    for text in SAMPLE:
        rest = URL.sub("", text).replace("RT:", "").replace("#", "")
        assert any(character.isalpha() for character in rest), text


@pytest.mark.parametrize(
    ("expected", "pattern"),
    [
        (posts.RETWEET_SHARE, "^RT:"),
        (posts.MENTION_SHARE, r"@\w+ "),
        (posts.ENTITY_SHARE, "&(amp|lt|gt|quot|#39|#33);"),
        (posts.HASHTAG_SHARE, r" #\w"),
        (posts.LINK_SHARE, URL.pattern),
        (posts.EMOJI_SHARE, "[\u2600-\u27bf\u20e3\U0001f1e6-\U0001faff]"),
        *((posts.LANGUAGE_SHARES[name], "|".join(map(re.escape, posts.PHRASES[name]))) for name in posts.PHRASES),
    ],
)
def test_shares_are_the_documented_ones(expected: float, pattern: str) -> None:
    assert share(pattern) == pytest.approx(expected, abs=0.015)


def test_some_links_are_in_the_middle() -> None:
    links = [text for text in SAMPLE if URL.search(text)]
    last = sum(bool(re.search(URL.pattern + r"( \.\.\.)?$", text)) for text in links) / len(links)
    something_follows = 1 - (1 - posts.THIRD_PHRASE_SHARE) * (1 - posts.EMOJI_SHARE) * (1 - posts.HASHTAG_SHARE)
    assert 1 - last == pytest.approx(posts.LINK_IN_THE_MIDDLE_SHARE * something_follows, abs=0.03)


@pytest.mark.parametrize(
    "pattern",
    [
        "&amp;", "&lt;", "&#39;", "http://", "https://", r"www\.", r"https?://\S+[.!,]( |$)", r"\(https?://\S+\)",
        r"\[https?://\S+\]", "<https?://", "\u200d", "\U0001f1e6|\U0001f1e7", "[\u4e00-\u9fff]", "[\uac00-\ud7af]",
        "[\u3040-\u30ff]", "ñ",
    ],
)  # fmt: skip
def test_every_kind_of_content_appears(pattern: str) -> None:
    assert share(pattern) > 0


def test_posts_are_generated_at_50_000_a_second() -> None:
    start = time.process_time()  # of this process alone, so that others on the machine don't matter
    for n in range(1, 20_001):
        post_text(3, n)
    assert 20_000 / (time.process_time() - start) > 50_000


EPOCHS = st.floats(0, 4102444800)
RATES = st.floats(0.01, 100_000)


@given(EPOCHS, RATES, st.floats(0, 4102444800))
def test_newest_is_the_rate_times_the_time_since_the_epoch(epoch: float, rate: float, now: float) -> None:
    newest = PostSchedule(epoch, rate).newest(now)
    if now <= epoch:
        assert newest == 0
    else:
        exact = (Fraction(now) - Fraction(str(epoch))) * Fraction(str(rate))
        assert newest <= exact < newest + 1


@given(EPOCHS, RATES, st.integers(1, 10**12), st.integers(-2, 2))
def test_a_post_is_newest_from_its_timestamp_on(epoch: float, rate: float, n: int, ulps: int) -> None:
    schedule = PostSchedule(epoch, rate)
    now = epoch + n / rate  # about the moment of post n, where rounding decides
    for _ in range(abs(ulps)):
        now = math.nextafter(now, math.copysign(math.inf, ulps))
    newest = schedule.newest(now)
    assert newest == 0 or schedule.timestamp_ms(newest) <= Fraction(now) * 1000
    assert schedule.timestamp_ms(newest + 1) + 1 > Fraction(now) * 1000


@given(EPOCHS, RATES, st.integers(1, 10**15), st.integers(0, 10**6))
def test_timestamps_never_fall(epoch: float, rate: float, n: int, more: int) -> None:
    schedule = PostSchedule(epoch, rate)
    assert schedule.timestamp_ms(n) <= schedule.timestamp_ms(n + more)


def test_timestamps_are_whole_milliseconds_rounded_down() -> None:
    assert [PostSchedule(1000.0, 3.0).timestamp_ms(n) for n in (1, 2, 3)] == [1_000_333, 1_000_666, 1_001_000]


def test_timestamps_are_exact_where_floats_would_round_up() -> None:
    rate = 99_991
    n = pow(1000, -1, rate) * (rate - 1) % rate  # 1000 * n / rate lies 1 / rate below a whole number
    assert 1000 * n % rate == rate - 1
    assert PostSchedule(1767225600.0, rate).timestamp_ms(n) == 1767225600_000 + 1000 * n // rate


@pytest.mark.parametrize(
    ("rate", "n", "seconds"), [(0.1, 1, 10), (0.7, 7, 10), (1.1, 11, 10), (20.0, 12_345_678, 617_283.9)]
)
def test_a_decimal_rate_is_meant_as_it_is_written(rate: float, n: int, seconds: float) -> None:
    schedule = PostSchedule(1767225600.0, rate)
    assert schedule.timestamp_ms(n) == 1767225600_000 + round(seconds * 1000)
    assert schedule.newest(1767225600 + seconds + 1e-6) == n


@given(EPOCHS, RATES, st.integers(0, 2**63 - 1))
def test_a_numbering_has_a_name_of_eight_hexadecimal_digits(epoch: float, rate: float, seed: int) -> None:
    assert re.fullmatch("[0-9a-f]{8}", feed_id(epoch, rate, seed))


def test_the_name_of_a_numbering_is_fixed() -> None:
    """State and topics hold it: another one would be taken for another numbering."""
    assert feed_id(1767225600.0, 20.0, 1) == "e7215393"


def test_each_setting_of_a_numbering_gives_it_another_name() -> None:
    settings = [(1767225600.0, 20.0, 1), (1767225601.0, 20.0, 1), (1767225600.0, 21.0, 1), (1767225600.0, 20.0, 2)]
    settings += [(0.5, 5.0, 1), (1.0, 0.4, 1), (1.0, 0.1, 11), (1.0, 0.11, 1), (1.0, 1.0, 0), (11.0, 1.0, 0)]
    assert len({feed_id(*setting) for setting in settings}) == len(settings)


def test_a_numbering_has_one_name_however_it_is_written() -> None:
    assert feed_id(1767225600, 20, 1) == feed_id(float("1.7672256e9"), float("2e1"), 1)
