"""Reads a feed's YAML file and checks it: first against schema.json, then the rules that a schema cannot express."""

import functools
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from jobs.addresses import URL_ALLOWED, websocket_addresses
from jobs.feeds.paths import ROOT, PathError, steps_of
from jobs.feeds.templates import FILE, PLACEHOLDER, is_template, parts_of, placeholders

ADDRESS_ALLOWED = f"an address that starts with ws:// or wss://, {URL_ALLOWED}, with a comma as %2C,"
MAX_FILE_BYTES = 262_144
PRESETS = tuple(
    sorted(
        each.name.removesuffix(".yaml")
        for each in resources.files("jobs.feeds").joinpath("presets").iterdir()
        if each.name.endswith(".yaml")
    )
)
Section = dict[str, Any]


class FeedError(ValueError):
    """A feed's definition is wrong. The text names the key, its value and what is allowed, in one line."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(character if character.isprintable() else "?" for character in text))


@dataclass(frozen=True)
class Definition:
    """A feed's definition, checked. It becomes part of Flink's job graph, and holds no secret, only names of files."""

    name: str
    connect: Section = field(default_factory=dict)
    open: Section = field(default_factory=dict)
    keepalive: Section = field(default_factory=dict)
    frames: Section = field(default_factory=dict)
    post: Section = field(default_factory=dict)
    position: Section = field(default_factory=dict)
    resume: Section = field(default_factory=dict)

    @property
    def resumable(self) -> bool:
        """Whether the feed can resume from a position."""
        return bool(self.resume)

    @property
    def timed(self) -> bool:
        """Whether the positions are times."""
        return "unit" in self.position

    @property
    def dense(self) -> bool:
        """Whether the positions are numbers without gaps, so that a missing number means a lost post."""
        return bool(self.position.get("dense"))

    @property
    def divisible(self) -> bool:
        """Whether several connections can read a part of the feed each."""
        return "shards" in self.connect


def load(feed: str) -> Definition:
    """The definition of a preset or of the file at an absolute path. Raises FeedError."""
    if feed in PRESETS:
        return parse(resources.files("jobs.feeds").joinpath("presets", f"{feed}.yaml").read_text("utf-8"))
    if not feed.startswith("/"):
        raise FeedError(f"{feed!r} is neither an absolute path nor one of {', '.join(PRESETS)}")
    try:
        with Path(feed).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FeedError(f"the file {feed!r} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise FeedError(f"the file {feed!r} is larger than {MAX_FILE_BYTES} bytes")
    return parse(content.decode(errors="replace"))


def parse(text: str) -> Definition:
    """The definition in a YAML text. Raises FeedError."""
    try:
        mapping = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except (YAMLError, ValueError, RecursionError) as error:
        raise FeedError(f"not YAML: {' '.join(str(error).split())[:300]}") from error
    try:
        return check(mapping)
    except RecursionError as error:  # an alias inside its own anchor
        raise FeedError("the mapping is nested too deeply") from error


def check(mapping: Any) -> Definition:
    """The definition that a mapping holds. Raises FeedError."""
    if not isinstance(mapping, dict):
        raise FeedError(f"a mapping is allowed, not {kind_of(mapping)}")
    for where, problem in strange_values("", mapping):
        raise FeedError(f"{where}: {problem}")
    error = best_match(validator().iter_errors(mapping))
    if error is not None:
        raise FeedError(explain(error))
    definition = Definition(**mapping)
    for where, problem in problems(definition):
        raise FeedError(f"{where}: {problem}")
    return definition


def strange_values(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """(key, problem) of each value that YAML knows and the schema does not."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(key, str):
                yield from strange_values(f"{where}.{key}" if where else key, each)
            else:
                yield where or "the feed", f"the key {key!r} is no text"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strange_values(f"{where}[{number}]", each)
    elif isinstance(value, float) and not math.isfinite(value):
        yield where, "a finite number is allowed"


@functools.cache
def schema() -> dict[str, Any]:
    text = resources.files("jobs.feeds").joinpath("schema.json").read_text("utf-8")
    return dict(json.loads(text))


@functools.cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def kind_of(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def explain(error: ValidationError) -> str:
    """One line for a violation of the schema: the path of the key, and what is allowed."""
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return f"{where.removeprefix('.') or 'the feed'}: {problem_of(error)}"


def problem_of(error: ValidationError) -> str:
    allowed: Any = error.validator_value
    value: Any = error.instance
    rules: dict[str, Any] = dict(cast(Mapping[str, Any], error.schema))
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = {*rules.get("properties", {})}
            if "$ref" in rules:
                known |= {*schema()["$defs"]["condition"]["properties"]}
            unknown = min({*map(str, value)} - known)
            return f"the key {unknown!r} is unknown; {', '.join(sorted(known))} are allowed"
        case "required":
            return f"the key {next(name for name in allowed if name not in value)!r} is missing"
        case "anyOf":
            return f"one of the keys {' or '.join(each['required'][0] for each in allowed)} is missing"
        case "type":
            names = [allowed] if isinstance(allowed, str) else allowed
            hint = " (in quotes, if it begins with [)" if "string" in names and isinstance(value, list) else ""
            return f"{kind_of(value)} stands there; {' or '.join(names)}{hint} is allowed"
        case "enum":
            return f"{value!r} stands there; {', '.join(map(str, allowed))} are allowed"
    rule = {"minimum": "at least", "maximum": "at most", "pattern": "a text that matches"}.get(str(error.validator))
    return f"{str(value)[:100]!r} stands there; {rule or error.validator} {allowed} is allowed"


def problems(feed: Definition) -> Iterator[tuple[str, str]]:
    """(key, problem) of each rule that the definition breaks."""
    yield from wrong_addresses(feed)
    yield from wrong_paths(feed)
    yield from wrong_conditions(feed)
    yield from wrong_placeholders(feed)
    yield from contradictions(feed)


def wrong_addresses(feed: Definition) -> Iterator[tuple[str, str]]:
    for number, url in enumerate(feed.connect.get("urls", ())):
        if len(websocket_addresses(PLACEHOLDER.sub("file", url)) or ()) != 1:
            # The address may hold a secret.
            yield f"connect.urls[{number}]", f"(not shown) {ADDRESS_ALLOWED} is allowed"


def wrong_paths(feed: Definition) -> Iterator[tuple[str, str]]:
    each = "each" in feed.frames
    for where, path, may_be_element in paths_in(feed):
        if path.startswith(ROOT) and not (each and may_be_element):
            yield where, f"{path!r}: only a path of an element of frames.each can begin with {ROOT!r}"
        try:
            steps_of(path.removeprefix(ROOT))
        except PathError as error:
            yield where, str(error)


def paths_in(feed: Definition) -> Iterator[tuple[str, str, bool]]:
    """(key, path, whether the path is one of an element of frames.each) of all paths."""
    for where, condition in conditions_in(feed):
        if "path" in condition:
            yield f"{where}.path", condition["path"], where.startswith("post.")
    for key in ("decode", "each"):
        if key in feed.frames:
            yield f"frames.{key}", feed.frames[key], False
    for key in ("path", "per", "numbering"):
        if key in feed.position:
            yield f"position.{key}", feed.position[key], True
    post = feed.post
    if "time" in post:
        yield "post.time.path", post["time"]["path"], True
    for name, path in post.get("extra", {}).items():
        yield f"post.extra.{name}", path, True
    for key in ("id", "text"):
        if key in post and (key == "id" or is_template(post[key])):
            try:
                yield from ((f"post.{key}", path, True) for _, path in parts_of(post[key]) if path is not None)
            except PathError:
                yield f"post.{key}", post[key], True
        elif key in post:
            yield f"post.{key}", post[key], True


def wrong_conditions(feed: Definition) -> Iterator[tuple[str, str]]:
    for where, condition in conditions_in(feed):
        if "frame" in condition and len(condition.keys() - {"means"}) > 1:
            yield where, "beside frame, nothing else is allowed"
        if "frame" in condition and ".keep[" in where:
            yield where, "a keep rule needs a path"
        if len(condition.keys() & {"equals", "in", "contains"}) > 1:
            yield where, "only one of equals, in and contains is allowed"
        if "required" in condition and ".keep[" not in where:
            yield where, "required is allowed in keep rules only"


def conditions_in(feed: Definition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(key, condition) of all conditions."""
    lists = {"frames": ("error", "control", "keep"), "post": ("keep",)}
    for section, keys in lists.items():
        for key in keys:
            for number, condition in enumerate(getattr(feed, section).get(key, ())):
                yield f"{section}.{key}[{number}]", condition
    for section, key in (("open", "expect"), ("keepalive", "reply"), ("frames", "replayed")):
        if key in getattr(feed, section):
            yield f"{section}.{key}", getattr(feed, section)[key]


def wrong_placeholders(feed: Definition) -> Iterator[tuple[str, str]]:
    for section in ("connect", "open", "keepalive", "resume"):
        for where, text in texts_in(section, getattr(feed, section)):
            allowed = ("position", "numbering") if section == "resume" else ()
            for name in placeholders(text):
                if name.startswith(FILE):
                    if not name.removeprefix(FILE).startswith("/"):
                        yield where, f"${{{FILE}...}} needs an absolute path"
                elif name not in allowed:
                    names = ", ".join(f"${{{each}}}" for each in (*allowed, "file:/path"))
                    yield where, f"${{{name}}} is unknown; {names} are allowed"


def texts_in(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(f"{where}.{key}", each)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from texts_in(f"{where}[{number}]", each)


def contradictions(feed: Definition) -> Iterator[tuple[str, str]]:
    """(key, problem) of the keys that do not fit together."""
    if feed.frames.get("format") == "text":
        if feed.post or feed.position or feed.resume:
            yield "frames.format", "a feed of text has no fields: nothing is allowed in post, position and resume"
        for key in ("decode", "each"):
            if key in feed.frames:
                yield f"frames.{key}", "a feed of text has no fields"
        for where, condition in conditions_in(feed):
            if "path" in condition:
                yield where, "a feed of text has no paths: only frame is allowed"
        return
    post, position, resume, frames = feed.post, feed.position, feed.resume, feed.frames
    identified, per = "id" in post, "per" in position
    rules = [
        ("post", "the key 'text' is missing", "text" not in post),
        ("post.keep", "without frames.each, use frames.keep", "keep" in post and "each" not in frames),
        ("position.dense", "a position that is a time has gaps", feed.dense and feed.timed),
        ("position.per", "the numbers of a key are dense: add dense: true", per and not feed.dense),
        ("position.per", "it goes neither with numbering nor with resume", per and ("numbering" in position or resume)),
        ("resume", "without position there is nothing to resume from", resume and not position),
        (
            "post.id",
            "it is missing: posts that come twice are recognized by their ids",
            feed.resumable and feed.timed and not identified,
        ),
        ("resume.overlap", "only positions that are times have an overlap", "overlap" in resume and not feed.timed),
        (
            "resume.overlap",
            "several posts can have one time: set it above 0, or inclusive: true",
            feed.timed and feed.resumable and not (resume.get("overlap") or resume.get("inclusive")),
        ),
        (
            "connect.shards",
            "only a feed with dense numbers and resume.query can be divided",
            feed.divisible and not (feed.dense and "query" in resume),
        ),
        ("frames.replayed", "only a feed that resumes from a time replays", "replayed" in frames and not feed.timed),
        (
            "keepalive.reply",
            "without keepalive.send there is no reply",
            "reply" in feed.keepalive and "send" not in feed.keepalive,
        ),
        (
            "post.id",
            "it is missing: the posts of a frame have one position",
            position.get("path", "").startswith(ROOT) and not identified,
        ),
    ]
    yield from ((where, problem) for where, problem, broken in rules if broken)
