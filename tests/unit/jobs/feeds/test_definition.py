"""Which definitions of a feed are refused, and with which line."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feeds import definition
from jobs.feeds.definition import PRESETS, FeedError, check, load, schema
from jobs.feeds.feed import Feed
from tests.unit.jobs.feeds.samples import ABSENT, FULL, PLAIN, TEXT, TIMED, changed


def refusal(mapping: Any) -> str:
    """The text of the error, which is one line."""
    with pytest.raises(FeedError) as caught:
        check(mapping)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize("mapping", [FULL, PLAIN, TIMED, TEXT], ids=lambda mapping: str(mapping["name"]))
def test_sound_definitions(mapping: dict[str, Any]) -> None:
    found = check(mapping)
    assert {key: section for key, section in vars(found).items() if section} | {"post": found.post} == mapping
    assert pickle.loads(pickle.dumps(found)) == found
    Feed(found, str)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_sound_and_has_an_address(name: str) -> None:
    found = load(name)
    assert found.connect["urls"]
    assert Feed(found, str).name == found.name


def test_the_full_definition_has_every_key_of_the_schema() -> None:
    known = {section: set(rules.get("properties", {})) for section, rules in schema()["properties"].items()}
    others = {
        "connect": {"shards"},
        "frames": {"replayed"},
        "position": {"unit", "string", "dense", "per", "numbering"},
        "resume": {"send", "overlap"},
    }
    used = {key: set(section) if isinstance(section, dict) else set() for key, section in FULL.items()}
    assert {section: keys - used[section] for section, keys in known.items() if keys - used[section]} == others


def sections() -> list[str]:
    return [path for path, rules in objects("", schema()) if path]


def objects(path: str, rules: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(path, schema) of each mapping with fixed keys in the full definition."""
    found = [(path, rules)] if rules.get("additionalProperties") is False else []
    for name, each in rules.get("properties", {}).items():
        found += objects(f"{path}/{name}".lstrip("/"), each)
    return found


CONDITIONS = ["open/expect", "keepalive/reply", "frames/error/0", "frames/control/0", "frames/keep/0", "post/keep/0"]


def dotted(path: str) -> str:
    """The path as an error names it."""
    parts = [f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("/") if part]
    return "".join(parts).removeprefix(".")


@pytest.mark.parametrize("path", ["", *sections(), *CONDITIONS, "resume/too_old/0"])
@pytest.mark.parametrize("key", ["unknown", "Path", "paths", "", "on"])
def test_an_unknown_key_is_refused_with_the_known_ones(path: str, key: str) -> None:
    error = refusal(changed(FULL, (f"{path}/{key}".lstrip("/") if path or key else "/", 1)))
    assert error.startswith(f"{dotted(path) or 'the feed'}: the key {key!r} is unknown; ")
    assert error.endswith(" are allowed")


WRONG: list[tuple[str, object, str]] = [
    ("name", ABSENT, "the feed: the key 'name' is missing"),
    ("post", ABSENT, "the feed: the key 'post' is missing"),
    ("post/text", ABSENT, "post: the key 'text' is missing"),
    ("position/path", ABSENT, "position: the key 'path' is missing"),
    ("post/time/unit", ABSENT, "post.time: the key 'unit' is missing"),
    ("resume/too_old/0/status", ABSENT, "resume.too_old[0]: the key 'status' is missing"),
    ("resume/query", ABSENT, "resume: one of the keys query or send is missing"),
    ("open/expect/path", ABSENT, "open.expect: one of the keys path or frame is missing"),
    ("name", "Full", "name: 'Full' stands there; a text that matches"),
    ("name", 7, "name: a number stands there; string is allowed"),
    ("connect", [], "connect: a list stands there; object is allowed"),
    ("connect/urls", "wss://a", "connect.urls: a text stands there; array is allowed"),
    ("connect/urls", [], "connect.urls: '[]' stands there; minItems 1 is allowed"),
    ("connect/urls/0", "http://a", "connect.urls[0]: 'http://a' stands there; a text that matches"),
    ("connect/headers/A", 7, "connect.headers.A: a number stands there; string is allowed"),
    ("connect/headers/A B", "c", "connect.headers: 'A B' stands there; a text that matches"),
    ("connect/ca_file", "ca.pem", "connect.ca_file: 'ca.pem' stands there; a text that matches"),
    ("connect/proxy", "proxy:3128", "connect.proxy: 'proxy:3128' stands there; a text that matches"),
    ("open/send", "hello", "open.send: a text stands there; array is allowed"),
    ("open/send/0", {"a": 1}, "open.send[0]: a mapping stands there; string is allowed"),
    ("open/within", 0, "open.within: '0' stands there; at least 0.1 is allowed"),
    ("open/within", 301, "open.within: '301' stands there; at most 300 is allowed"),
    ("open/within", float("nan"), "open.within: a finite number is allowed"),
    ("open/within", float("inf"), "open.within: a finite number is allowed"),
    ("open/within", True, "open.within: true or false stands there; number is allowed"),
    ("keepalive/pings", "no", "keepalive.pings: a text stands there; boolean is allowed"),
    ("keepalive/max_age", 1.5, "keepalive.max_age: a number stands there; integer is allowed"),
    ("keepalive/max_silence", None, "keepalive.max_silence: nothing stands there; integer is allowed"),
    ("frames/format", "yaml", "frames.format: 'yaml' stands there; json, text are allowed"),
    ("frames/error/0/means", "worse", "frames.error[0].means: 'worse' stands there; fatal, too_old, reconnect are"),
    ("frames/control/0/in", "hello", "frames.control[0].in: a text stands there; array is allowed"),
    ("frames/control/0/in/0", None, "frames.control[0].in[0]: nothing stands there; string or number or boolean is"),
    ("post/time/unit", "h", "post.time.unit: 'h' stands there; s, ms, us, ns, rfc3339 are allowed"),
    ("post/id", "{a} {b}", "post.id: '{a} {b}' stands there; a text that matches"),
    ("post/extra/a-b", "c", "post.extra: 'a-b' stands there; a text that matches"),
    ("position/unit", "rfc3339", "position.unit: 'rfc3339' stands there; s, ms, us, ns are allowed"),
    ("resume/too_old/0/status", 200, "resume.too_old[0].status: '200' stands there; at least 400 is allowed"),
    ("resume/query", {}, "resume.query: '{}' stands there; minProperties 1 is allowed"),
    # Paths.
    ("frames/keep/0/path", "a..b", "frames.keep[0].path: 'a..b' is not a path: character 2"),
    ("frames/each", "items[*]", "frames.each: 'items[*]' is not a path: character 6"),
    ("frames/decode", ".payload", "frames.decode: '.payload' is not a path: character 1"),
    ("post/text", "a b", "post.text: 'a b' is not a path: character 2"),
    ("post/text", "{a b}", "post.text: 'a b' is not a path: character 2"),
    ("post/text", "{a", "post.text: '{a' is not a path"),
    ("post/id", "{a}}", "post.id: '{a}}' is not a path"),
    ("post/time/path", "a[-1]", "post.time.path: 'a[-1]' is not a path"),
    ("post/extra/lang", "", "post.extra.lang: '' stands there; minLength 1 is allowed"),
    ("position/path", "$.", "position.path: an empty path"),
    ("position/path", "a[1234567]", "position.path: 'a[1234567]' is not a path"),
    (
        "frames/keep/0/path",
        "$.type",
        "frames.keep[0].path: '$.type': only a path of an element of frames.each can begin",
    ),
    # Placeholders.
    ("connect/query/a", "${position}", "connect.query.a: ${position} is unknown; ${file:/path} are allowed"),
    ("connect/headers/A", "${file:token}", "connect.headers.A: ${file:...} needs an absolute path"),
    ("connect/headers/A", "${TOKEN}", "connect.headers.A: ${TOKEN} is unknown; ${file:/path} are allowed"),
    ("open/send/0", "${}", "open.send[0]: ${} is unknown; ${file:/path} are allowed"),
    ("keepalive/send", "${numbering}", "keepalive.send: ${numbering} is unknown; ${file:/path} are allowed"),
    (
        "resume/query/a",
        "${seq}",
        "resume.query.a: ${seq} is unknown; ${position}, ${numbering}, ${file:/path} are allowed",
    ),
    # Contradictions.
    ("frames/each", ABSENT, "position.path: '$.seq': only a path of an element of frames.each can begin with '$.'"),
    ("position", {}, "position: the key 'path' is missing"),
    ("position", ABSENT, "resume: without position there is nothing to resume from"),
    ("position/per", "product", "position.per: the numbers of a key are dense: add dense: true"),
    ("position", {"path": "seq", "per": "key", "dense": True}, "position.per: it goes neither with numbering nor with"),
    ("position", {"path": "seq", "dense": True, "unit": "s"}, "position.dense: a position that is a time has gaps"),
    ("post/id", ABSENT, "post.id: it is missing: the posts of a frame have one position"),
    ("resume/overlap", 5, "resume.overlap: only positions that are times have an overlap"),
    ("connect/shards", "shard", "connect.shards: only a feed with dense numbers and resume.query can be divided"),
    ("frames/replayed", {"frame": "EOSE"}, "frames.replayed: only a feed that resumes from a time replays"),
    ("keepalive/send", ABSENT, "keepalive.reply: without keepalive.send there is no reply"),
    ("frames/format", "text", "frames.format: a feed of text has no fields: nothing is allowed in post"),
    # Conditions.
    ("frames/control/0/frame", "PING", "frames.control[0]: beside frame, nothing else is allowed"),
    ("frames/control/0/equals", "a", "frames.control[0]: only one of equals, in and contains is allowed"),
    ("frames/keep/0", {"frame": "a"}, "frames.keep[0]: a keep rule needs a path"),
    ("post/keep/0", {"frame": "a"}, "post.keep[0]: a keep rule needs a path"),
    ("frames/control/0/required", True, "frames.control[0]: required is allowed in keep rules only"),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), WRONG, ids=[f"{path} {value!r:.30}" for path, value, _ in WRONG]
)
def test_what_is_wrong_is_refused_by_its_key(path: str, value: object, expected: str) -> None:
    assert refusal(changed(FULL, (path, value))).startswith(expected)


def test_contradictions_of_other_feeds() -> None:
    assert refusal(changed(TIMED, ("post/id", ABSENT))).startswith("post.id: it is missing: posts that come twice")
    assert refusal(changed(PLAIN, ("post/keep", [{"path": "a"}]))) == "post.keep: without frames.each, use frames.keep"
    for key in ("each", "decode"):
        assert refusal(changed(TEXT, (f"frames/{key}", "a"))) == f"frames.{key}: a feed of text has no fields"
    error = refusal(changed(TEXT, ("frames/control", [{"path": "a"}])))
    assert error == "frames.control[0]: a feed of text has no paths: only frame is allowed"
    assert refusal(changed(TEXT, ("post/text", "a"))).startswith("frames.format: a feed of text has no fields")


@pytest.mark.parametrize("mapping", [None, 7, "text", [], [FULL], True])
def test_what_is_no_mapping_is_refused(mapping: object) -> None:
    assert refusal(mapping).startswith("a mapping is allowed, not ")


@pytest.mark.parametrize("key", [1, None, True, 1.5])
def test_a_key_that_is_no_text_is_refused(key: object) -> None:
    assert refusal({**PLAIN, key: 1}) == f"the feed: the key {key!r} is no text"
    assert refusal({**PLAIN, "connect": {"headers": {key: "a"}}}) == f"connect.headers: the key {key!r} is no text"


NO_YAML = {
    "a tab": "\tname: a",
    "two documents": "name: a\n---\nname: b\n",
    "a key twice": "name: a\nname: b\n",
    "an alias without an anchor": "name: *a",
    "an alias inside its anchor": "name: mine\npost: &a {text: text, extra: *a}\n",
    "a tag": "name: !!python/object/apply:os.system ['true']",
    "unbalanced": "{" * 5_000,
    "not UTF-8": b"name: \xff\xfe\n",
    "empty": "",
    "a list": "- name",
}


@pytest.mark.parametrize("content", NO_YAML.values(), ids=NO_YAML)
def test_a_file_that_is_no_definition_is_refused_in_one_line(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "feed.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FeedError) as caught:
        load(str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, reason in (
        (str(tmp_path / "none"), f"the file '{tmp_path}/none' cannot be read: No such file or directory"),
        (str(tmp_path), f"the file '{tmp_path}' cannot be read: Is a directory"),
        ("feed.yaml", "'feed.yaml' is neither an absolute path nor one of "),
    ):
        with pytest.raises(FeedError) as caught:
            load(path)
        assert str(caught.value).startswith(reason)


def test_a_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition, "MAX_FILE_BYTES", 100)
    path = tmp_path / "feed.yaml"
    path.write_text("name: mine\npost: {text: text}\n")
    assert load(str(path)).name == "mine"
    path.write_text("name: mine\npost: {text: text}\n" + "#" * 100)
    with pytest.raises(FeedError, match="larger than 100 bytes"):
        load(str(path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["connect", "open", "keepalive", "frames", "post", "position", "resume"])


@given(data=st.data())
def test_a_mapping_is_refused_in_one_line_or_can_be_compiled(data: st.DataObject) -> None:
    section = data.draw(KEYS)
    key = data.draw(st.sampled_from(sorted(schema()["properties"][section]["properties"])))
    mapping = changed(data.draw(st.sampled_from([FULL, PLAIN, TIMED, TEXT])), (f"{section}/{key}", data.draw(JSON)))
    try:
        found = check(mapping)
    except FeedError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        Feed(found, str)
