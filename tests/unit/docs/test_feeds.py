"""The pages on feeds: the reference is what the schema and the presets say, and each piece of YAML is valid."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from docs.reference.make_feed_definition import PAGE, comment_of, page
from jobs.feeds.definition import PRESETS, Definition, check, load
from jobs.feeds.feed import Feed
from jobs.feeds.guarantee import guarantee
from jobs.feeds.model import Post
from tests.unit.docs import pages

HOW_TO = pages.DOCS / "how-to/feeds.md"
YAML_BLOCKS = re.findall(r"^```yaml\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = [block for block in YAML_BLOCKS if block.startswith("name:")]
RECIPES = [block for block in YAML_BLOCKS if not block.startswith("name:")]


def read(text: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(text))


def with_recipe(block: str) -> Definition:
    """The example with the keys of a recipe."""
    mapping, recipe = read(EXAMPLES[-1]), read(block)
    for section, keys in recipe.items():
        mapping[section] = {**mapping.get(section, {}), **keys}
    if "# and no resume" in block:
        del mapping["resume"]
    return check(mapping)


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run make feed-docs"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_comment_of_a_preset_names_its_guarantee(preset: str) -> None:
    comment = comment_of(preset)
    assert comment["Guarantee"].startswith(guarantee(load(preset)))
    assert comment["Set"]


def test_the_example_is_short_and_reads_its_frame() -> None:
    assert all(len(example.splitlines()) <= 12 for example in EXAMPLES)
    (frame,) = re.findall(r"^```json\n(.*?)\n```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    first, last = (Feed(check(read(example)), str).parse(frame.encode(), 5) for example in EXAMPLES)
    assert first[0] == "bad_text"
    assert last == Post("harbour-1207", "RT: the #ferry is late https://h.example/4", 1_767_225_600_250, 1207)


@pytest.mark.parametrize("block", RECIPES)
def test_a_recipe_fits_the_example(block: str) -> None:
    with_recipe(block)


def test_the_values_hold_the_same_definition() -> None:
    (block,) = [block for block in pages.blocks(HOW_TO) if pages.VALUES.search(block)]
    assert read(block)["collector"]["feed"] == read(EXAMPLES[-1])
