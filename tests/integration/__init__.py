"""End to end, on a real Kafka, Flink and document store."""
