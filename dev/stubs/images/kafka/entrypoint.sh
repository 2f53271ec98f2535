#!/bin/sh
# broker: formats the data folder if it is empty and runs the broker.
# topics BOOTSTRAP NAME:PARTITIONS...: creates the topics that are missing.
set -eu

CLUSTER_ID=ZGF0YS1jb2xsZWN0aW9uLQ # any 16 bytes in base64; constant, since each data folder is of one cluster
export CLASSPATH='/opt/kafka/lib/*'
logging=-Dlog4j2.configurationFile=/etc/kafka/log4j2.properties

case "${1-}" in
broker)
    java "$logging" kafka.tools.StorageTool format --ignore-formatted --cluster-id "$CLUSTER_ID" \
        --config /etc/kafka/server.properties
    exec java "$logging" -Dlog.level=INFO kafka.Kafka /etc/kafka/server.properties \
        --override "advertised.listeners=CLIENTS://$KAFKA_ADVERTISED_HOST:9092,BROKER://127.0.0.1:9094"
    ;;
topics)
    bootstrap=$2
    shift 2
    for topic; do
        java "$logging" org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --create --if-not-exists \
            --topic "${topic%:*}" --partitions "${topic##*:}"
    done
    ;;
*)
    echo "usage: broker | topics BOOTSTRAP NAME:PARTITIONS..." >&2
    exit 2
    ;;
esac
