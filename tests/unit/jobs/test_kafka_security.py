"""The options of Kafka's clients for each protocol, and files that are rejected without showing the password."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import aggregator_stream, collector_stream, sql
from jobs.collect_function import CollectFunction
from jobs.kafka_security import client_options, connector_options, read_files
from jobs.settings import KafkaSecurity, SettingError, read_aggregator_settings, read_collector_settings
from jobs.starting_point import EARLIEST
from jobs.transactional_ids import TransactionalIds
from tests.unit.jobs.test_sql import literals

PASSWORD = "s3cret pass'word ${file:/a:b} $x #/*"
SERVERS = "a:1,b:2"
PEM = "Subject: a CA\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
USER = KafkaSecurity("SASL_PLAINTEXT", "me", "/etc/kafka/password")
JAAS = (
    "org.apache.kafka.common.security.scram.ScramLoginModule required "
    'username="me" password="${file:/etc/kafka:password}";'
)
SCRAM = {
    "properties.config.providers": "file",
    "properties.config.providers.file.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    "properties.sasl.mechanism": "SCRAM-SHA-512",
    "properties.sasl.jaas.config": JAAS,
}
TRUST = {"properties.ssl.truststore.type": "PEM", "properties.ssl.truststore.location": "/ca.pem"}
LOGIN = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "me", "sasl_plain_password": PASSWORD}
CASES = [
    (KafkaSecurity(), {}, {}),
    (KafkaSecurity("SSL"), {}, {}),
    (KafkaSecurity("SSL", ca_file="/ca.pem"), TRUST, {}),
    (USER, SCRAM, LOGIN),
    (KafkaSecurity("SASL_SSL", "me", "/etc/kafka/password"), SCRAM, LOGIN),
    (KafkaSecurity("SASL_SSL", "me", "/etc/kafka/password", "/ca.pem"), SCRAM | TRUST, LOGIN),
]


@pytest.mark.parametrize(("security", "connector", "client"), CASES)
def test_each_protocol_gives_its_options(
    security: KafkaSecurity, connector: dict[str, str], client: dict[str, str]
) -> None:
    usual = {"properties.bootstrap.servers": SERVERS, "properties.security.protocol": security.protocol}
    assert connector_options(SERVERS, security) == usual | connector
    login = {"security_protocol": security.protocol, "ssl_cafile": security.ca_file, **client}
    assert client_options(security, PASSWORD if security.username else "") == login


def test_a_file_in_the_root_folder_has_a_reference_too() -> None:
    options = connector_options(SERVERS, KafkaSecurity("SASL_SSL", "me", "/password"))
    assert 'password="${file:/:password}"' in options["properties.sasl.jaas.config"]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment with a valid password file and a valid CA file."""
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "ca.pem").write_text(PEM)
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_USERNAME": "me",
        "KAFKA_PASSWORD_FILE": str(tmp_path / "password"),
        "KAFKA_CA_FILE": str(tmp_path / "ca.pem"),
    }


def test_the_password_is_neither_in_the_sql_nor_in_what_the_job_graph_holds(variables: dict[str, str]) -> None:
    collector, aggregator = read_collector_settings(variables), read_aggregator_settings(variables)
    assert read_files(collector.security) == PASSWORD
    ids = TransactionalIds("data-collection", "collector", "tweets", "run")
    texts = {
        "collector": sql.statements("collector", collector_stream.sql_values(collector, 1, "run")),
        "aggregator": sql.statements("aggregator", aggregator_stream.sql_values(aggregator, EARLIEST, "run")),
    }
    for name, tables in (("collector", 1), ("aggregator", 3)):
        found = "".join(texts[name])
        assert "s3cret" not in found
        assert len([value for value in literals(found) if "${file:/" in value]) == tables
    assert "s3cret" not in f"{collector!r}{aggregator!r}{vars(CollectFunction(collector, {}, 4, ids))!r}"


def test_no_file_is_read_where_none_is_named() -> None:
    assert read_files(KafkaSecurity()) == ""


BAD_PASSWORDS = {
    "empty": b"",
    "line break at the end": b"s3cret\n",
    "line break of another system": b"s3cret\r\n",
    "lines": b"s3cret\ns3cret",
    "quote": b's3c"ret',
    "backslash": b"s3c\\ret",
    "tab": b"s3c\tret",
    "other script": "s3cret\N{LATIN SMALL LETTER A WITH DIAERESIS}".encode(),
    "no text": b"s3cret\xff",
    "byte order mark": b"\xef\xbb\xbfs3cret",
}


@pytest.mark.parametrize("content", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
def test_a_password_that_kafka_would_misread_is_reported_without_it(variables: dict[str, str], content: bytes) -> None:
    Path(variables["KAFKA_PASSWORD_FILE"]).write_bytes(content)
    error = error_of(variables)
    assert error.startswith(f"KAFKA_PASSWORD_FILE={variables['KAFKA_PASSWORD_FILE']!r} (content not shown): ")
    assert "without a line break at the end" in error
    assert "s3c" not in error


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1))
def test_any_other_printable_ascii_is_a_password(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    path = tmp_path_factory.getbasetemp() / "password"
    path.write_text(password)
    assert read_files(KafkaSecurity("SASL_SSL", "me", str(path))) == password


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\n", "\0"])
def test_a_ca_file_without_a_certificate_is_reported(variables: dict[str, str], content: str) -> None:
    Path(variables["KAFKA_CA_FILE"]).write_text(content)
    assert (
        error_of(variables) == f"KAFKA_CA_FILE={variables['KAFKA_CA_FILE']!r}: a PEM file with a certificate is allowed"
    )


@pytest.mark.parametrize("name", ["KAFKA_PASSWORD_FILE", "KAFKA_CA_FILE"])
@pytest.mark.parametrize(("path", "reason"), [("/no/such/file", "No such file"), ("/tmp", "Is a directory")])
def test_a_file_that_cannot_be_read_is_reported(variables: dict[str, str], name: str, path: str, reason: str) -> None:
    error = error_of(variables | {name: path})
    assert error.startswith(f"{name}={path!r}: a file that can be read is allowed: {reason}")


def error_of(variables: dict[str, str]) -> str:
    """The text of the error, which is one line."""
    with pytest.raises(SettingError) as caught:
        read_files(read_collector_settings(variables).security)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)
