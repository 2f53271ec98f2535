"""The settings that a job shows in Flink, as its global job parameters. No I/O.

Flink's page and REST API show these parameters to anyone who can reach them. So no value may hold a secret.
"""

from dataclasses import fields

from jobs.settings import AggregatorSettings, CollectorSettings, KafkaSecurity, Secret

# Fields whose variable has another name than the field.
VARIABLES = {
    "bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
    "topic": "KAFKA_TOPIC",
    "rejected_topic": "KAFKA_REJECTED_TOPIC",
    "events_topic": "KAFKA_EVENTS_TOPIC",
    "id_prefix": "KAFKA_ID_PREFIX",
    "database": "MONGODB_DATABASE",
    "collection": "MONGODB_COLLECTION",
    "refresh_seconds": "WORLDOMETERS_REFRESH_SECONDS",
}


def job_parameters(settings: CollectorSettings | AggregatorSettings) -> dict[str, str]:
    """The settings by the name of their variable. A setting that may hold a secret, or that is unset, is left out."""
    parameters: dict[str, str] = {}
    for field in fields(settings):
        name, value = field.name, getattr(settings, field.name)
        if isinstance(value, KafkaSecurity):
            parameters["KAFKA_SECURITY_PROTOCOL"] = value.protocol
        elif name == "feed":
            parameters["FEED"] = value.name
        elif name == "resume_from_topic":
            parameters["START_FROM"] = "topic" if value else "live"
        elif value is not None and not isinstance(value, Secret):
            parameters[VARIABLES.get(name, name.upper())] = str(value)
    return parameters
