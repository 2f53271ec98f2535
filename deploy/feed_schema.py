"""What the chart knows of feeds, written from jobs/feeds: its schema of a definition, and facts of the presets.

Helm reads JSON schemas of draft 7 in all its versions. There, nothing beside a `$ref` counts.
"""

import json
from collections.abc import Mapping
from typing import Any

from deploy.chart import CHART
from jobs.feeds.definition import PRESETS, load, schema

VALUES_SCHEMA = CHART / "values.schema.json"
PRESETS_FILE = CHART / "files" / "presets.json"
LINE = 132  # characters of the longest object on one line
DEFAULT_MAX_SILENCE = 60
Schema = dict[str, Any]


def write() -> None:
    """Bring both files of the chart up to date."""
    VALUES_SCHEMA.write_text(values_schema(json.loads(VALUES_SCHEMA.read_text())))
    PRESETS_FILE.write_text(presets())


def values_schema(values: Schema) -> str:
    """values.schema.json with the feeds of this version."""
    settings = values["properties"]["collector"]["properties"]["settings"]["properties"]
    settings["FEED"]["enum"] = list(PRESETS)
    values["properties"]["collector"]["properties"]["feed"]["else"]["enum"] = [None, *PRESETS]
    values["definitions"] |= definitions()
    return f"{to_text(values)}\n"


def definitions() -> Schema:
    """The schema of a feed's definition in draft 7: `feed`, and what it refers to."""
    shared = schema()["$defs"]
    feed = {key: value for key, value in schema().items() if key not in {"$schema", "$defs", "title"}}
    return {
        "feed": draft_7(feed, shared),
        "feedPath": shared["path"],
        "feedCondition": closed(shared["condition"], {}, shared),
    }


def draft_7(rule: Any, shared: Mapping[str, Schema]) -> Any:
    """A part of the schema in draft 7. shared: the parts that a `$ref` may name."""
    if isinstance(rule, list):
        return [draft_7(each, shared) for each in rule]
    if not isinstance(rule, dict):
        return rule
    if "$ref" not in rule:
        return {key: draft_7(value, shared) for key, value in rule.items()}
    if not rule.keys() <= {"$ref", "description", "properties", "unevaluatedProperties"}:
        raise ValueError(f"beside a $ref, draft 7 has no place for {', '.join(rule)}")
    name = rule["$ref"].rpartition("/")[2]
    if "properties" in rule:
        return closed(shared[name], rule["properties"], shared)
    description = rule.get("description", shared[name]["description"])
    return {"description": description, "$ref": f"#/definitions/feed{name.capitalize()}"}


def closed(rule: Schema, more: Schema, shared: Mapping[str, Schema]) -> Schema:
    """A mapping that may have the keys of the rule and those in `more`, and no others."""
    converted: Schema = draft_7(rule, shared)
    properties = converted["properties"] | draft_7(more, shared)
    return converted | {"properties": properties, "additionalProperties": False}


def presets() -> str:
    """The servers and the longest silence of each preset."""
    facts = {}
    for name in PRESETS:
        feed = load(name)
        silence = feed.keepalive.get("max_silence", DEFAULT_MAX_SILENCE)
        facts[name] = {"urls": feed.connect.get("urls", []), "maxSilence": silence}
    return f"{to_text(facts)}\n"


def to_text(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON with each object and array on one line where it fits. before: characters before it on the line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or before + len(flat) < LINE:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, list):
        lines = [pad + to_text(each, indent + 2, indent + 2) for each in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    keys = [f"{pad}{json.dumps(key)}: " for key in value]
    lines = [key + to_text(each, indent + 2, len(key)) for key, each in zip(keys, value.values(), strict=True)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
