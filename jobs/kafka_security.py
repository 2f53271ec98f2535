"""The security options of Kafka's clients. Imports no client and no Flink.

Flink's tables get a reference to the file of the password, kafka-python gets the password itself.
"""

from pathlib import Path
from typing import Any

from jobs.settings import KafkaSecurity, SettingError, check_certificates, read_text

MECHANISM = "SCRAM-SHA-512"
LOGIN_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
PROVIDER = "org.apache.kafka.common.config.provider.DirectoryConfigProvider"


def connector_options(bootstrap_servers: str, security: KafkaSecurity) -> dict[str, str]:
    """The options of each Flink table in Kafka.

    Everyone who can see a job can see them. So they only refer to the password: each Java client reads the file where
    it runs (KIP-421).
    """
    options = {"bootstrap.servers": bootstrap_servers, "security.protocol": security.protocol}
    if security.ca_file:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": security.ca_file}
    if security.password_file:
        file = Path(security.password_file)
        password = f"${{file:{file.parent}:{file.name}}}"
        options |= {
            "config.providers": "file",
            "config.providers.file.class": PROVIDER,
            "sasl.mechanism": MECHANISM,
            "sasl.jaas.config": f'{LOGIN_MODULE} required username="{security.username}" password="{password}";',
        }
    return {f"properties.{name}": value for name, value in options.items()}


def client_options(security: KafkaSecurity, password: str) -> dict[str, Any]:
    """The options of a kafka-python client, without the brokers' addresses."""
    options: dict[str, Any] = {"security_protocol": security.protocol, "ssl_cafile": security.ca_file}
    if security.username:
        options |= {
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": security.username,
            "sasl_plain_password": password,
        }
    return options


def read_files(security: KafkaSecurity) -> str:
    """The password, "" if none is needed. Raises SettingError for a file that Kafka's clients cannot use."""
    if security.ca_file:
        check_certificates("KAFKA_CA_FILE", security.ca_file)
    if not security.password_file:
        return ""
    password = read_text("KAFKA_PASSWORD_FILE", security.password_file)
    # The Java clients insert the complete content of the file between the quotes in `sasl.jaas.config`.
    if not password or not all(" " <= character <= "~" and character not in '"\\' for character in password):
        allowed = 'printable ASCII characters other than " and \\, without a line break at the end'
        raise SettingError(
            f"KAFKA_PASSWORD_FILE={security.password_file!r} (content not shown): {allowed}, are allowed"
        )
    return password
