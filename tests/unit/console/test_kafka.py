"""Which posts of the topic are shown."""

from console.observations import Post
from console.sources.kafka import post_of, sample


def post(number: int, original: str = "") -> Post:
    return Post(str(number), "text", float(number), "simulator", "", original)


def test_of_many_posts_those_with_the_text_before_cleaning_are_shown_then_the_newest() -> None:
    posts = [post(number, "#text" if number in (2, 50) else "") for number in range(100)]
    assert [each.id for each in sample(posts, 4)] == ["2", "50", "98", "99"]
    assert sample(posts, 100) == posts
    originals = [post(number, "#text") for number in range(9)]
    assert [each.id for each in sample(originals, 2)] == ["7", "8"]


def test_a_record_without_its_original_is_a_post_too() -> None:
    value = {"id": "a", "text": "b", "timestamp": 1_500, "source": "simulator", "position": "n/1"}
    assert post_of(value) == Post("a", "b", 1.5, "simulator", "n/1")
    assert post_of({**value, "original": "#b" * 1_000}).original == "#b" * 140
