"""The SQL files: every placeholder is filled, no value can leave its literal, and the schema is the same everywhere."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs import aggregator_stream, collector_stream, sql
from jobs.counters import Counters
from jobs.defaults import COLLECTION, DATABASE
from jobs.documents import window_documents
from jobs.settings import read_aggregator_settings, read_collector_settings
from jobs.starting_point import EARLIEST

DOCUMENT = {
    "hash": "STRING",
    "content": "ARRAY<STRING>",
    "timestamp": "STRING",
    **dict.fromkeys(Counters._fields, "BIGINT"),
}
COLLECTOR = collector_stream.sql_values(read_collector_settings({}), 3, "run")
AGGREGATOR = aggregator_stream.sql_values(read_aggregator_settings({}), EARLIEST, "run")
TABLE: dict[str, object] = {"mongodb_uri": "mongodb://localhost:27017", "database": DATABASE, "collection": COLLECTION}
VALUES: dict[str, dict[str, object]] = {"collector": COLLECTOR, "aggregator": AGGREGATOR, "twitter_table": TABLE}
LITERAL = re.compile(r"'((?:[^']|'')*)'")
HOSTILE = {
    "quote": "it's",
    "quotes": "''",
    "ends the literal": "x'); DROP TABLE tweets; --",
    "statement": "a;\nDROP TABLE tweets;\n",
    "comment": "a -- b\n-- c",
    "block comment": "/* a",
    "placeholder": "${topic} ${document_schema} ${unknown} $topic $",
    "backslash": "a\\' b\\",
    "line breaks": "a\n\r\nb",
    "empty": "",
    "other scripts": "привет 🌍",
}


def placeholders(name: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)\}", sql.read(name)))


def statement(name: str, start: str) -> str:
    """The only statement of the file that starts like this."""
    (found,) = (text for text in sql.statements(name, VALUES[name]) if text.startswith(start))
    return found


def with_strings(values: Mapping[str, object], string: str) -> dict[str, object]:
    """The same values with this in place of each string, those of table options too."""

    def change(value: object) -> object:
        if isinstance(value, Mapping):
            return dict.fromkeys(value, string)
        return string if isinstance(value, str) else value

    return {name: change(value) for name, value in values.items()}


def strings(values: Mapping[str, object]) -> list[str]:
    """The strings among the values, those of table options too."""
    found = [text for value in values.values() for text in (value.values() if isinstance(value, Mapping) else [value])]
    return [text for text in found if isinstance(text, str)]


def literals(text: str) -> list[str]:
    """The values of the string literals in a statement."""
    return [literal.replace("''", "'") for literal in LITERAL.findall(text)]


def top_level(text: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "(<") - (character in ")>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


@pytest.mark.parametrize("name", VALUES)
def test_the_jobs_fill_each_placeholder_and_pass_nothing_else(name: str) -> None:
    assert placeholders(name) == VALUES[name].keys()
    assert len(placeholders(name)) >= 3
    assert not re.search(r"\$\{|\$\w", "".join(sql.statements(name, VALUES[name])))


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="database"):
        sql.statements("twitter_table", {name: value for name, value in TABLE.items() if name != "database"})


@pytest.mark.parametrize("name", VALUES)
def test_statements_are_whole_and_bare(name: str) -> None:
    starts = ("CREATE TABLE ", "CREATE TEMPORARY VIEW ", "INSERT INTO ")
    statements = sql.statements(name, VALUES[name])
    file = sql.without_comments(sql.read(name))
    assert len(statements) == len(re.findall(rf"^(?:{'|'.join(starts)})", file, re.MULTILINE)) > 0
    for text in statements:
        assert text.startswith(starts)
        assert not LITERAL.sub("", text).count("'")
        assert not re.search("--|;", LITERAL.sub("", text))


def test_strings_become_literals_and_numbers_stay() -> None:
    create = statement("twitter_table", "CREATE TABLE")
    assert "'database' = 'twitter_db'" in create
    assert f"`timestamp` >= {AGGREGATOR['begin_ms']}\n" in statement("aggregator", "CREATE TEMPORARY VIEW posts")


def test_a_mapping_becomes_options_of_each_table_and_its_references_stay() -> None:
    reference = "x='${dir:/a:b}' $y"
    tables = sql.statements("aggregator", {**AGGREGATOR, "kafka": {"a": "1", "b.c": reference}})
    found = [text for text in tables if "\n  'a' = '1',\n  'b.c' = 'x=''${dir:/a:b}'' $y'," in text]
    assert [text.split()[2] for text in found] == ["tweets", "rejected", "tweets_raw"]


@pytest.mark.parametrize("name", VALUES)
def test_no_setting_is_written_into_a_file(name: str) -> None:
    settings = {value for value in strings(VALUES[name]) if not value.isdigit()}
    filled = sql.statements(name, with_strings(VALUES[name], "PLAIN"))
    assert len(settings) >= 3
    assert not settings & {literal for text in filled for literal in literals(text)}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_literal_holds_any_text(value: str) -> None:
    assert LITERAL.fullmatch(sql.literal(value))
    assert literals(sql.literal(value)) == [value]


@given(st.text())
@example(HOSTILE["statement"])
@example(HOSTILE["placeholder"])
def test_no_value_breaks_out_of_its_literal(value: str) -> None:
    for name, values in VALUES.items():
        plain = sql.statements(name, with_strings(values, "PLAIN"))
        filled = sql.statements(name, with_strings(values, value))
        assert [LITERAL.sub("?", text) for text in filled] == [LITERAL.sub("?", text) for text in plain]
        for text, expected in zip(filled, plain, strict=True):
            assert literals(text) == [value if literal == "PLAIN" else literal for literal in literals(expected)]


def test_the_table_has_the_columns_of_the_documents() -> None:
    start = "CREATE TABLE IF NOT EXISTS twitter_table ("
    create = statement("twitter_table", start).removeprefix(start).partition("\n) WITH (")[0]
    *columns, key = top_level(create)
    assert [column.split() for column in columns] == [[f"`{name}`", kind] for name, kind in DOCUMENT.items()]
    (document,) = window_documents("tweets", "", "", ["text"], None, 1_000)
    assert list(document) == list(DOCUMENT)
    assert re.findall(r"^ *`(\w+)` (.+),$", create, re.MULTILINE) == list(DOCUMENT.items())
    assert key == "PRIMARY KEY (`hash`) NOT ENFORCED"
