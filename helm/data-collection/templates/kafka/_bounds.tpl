{{/* Limits that keep a broker's volume from filling, at any rate. Shares of the volume:
  40 % topic `tweets`; 12 % topic `tweets.rejected`; 3 % topic `tweets.events`; 20 % records written until a retention check has taken effect;
  20 % Kafka's own topics and metadata; 5 % indexes and file system.
Kafka may place all partitions of a topic on one broker when it adds them later, so each broker has room for all. */}}

{{/* The chart's own broker options, without those of the values. */}}
{{- define "data-collection.kafka.ownConfig" -}}
auto.create.topics.enable: false
default.replication.factor: {{ .replicationFactor }}
min.insync.replicas: {{ .minInsyncReplicas }}
offsets.topic.replication.factor: {{ .replicationFactor }}
transaction.state.log.replication.factor: {{ .replicationFactor }}
transaction.state.log.min.isr: {{ .minInsyncReplicas }}
# Records written between two checks need room: see the quotas of the Kafka users.
log.retention.check.interval.ms: 30000
# A segment is compacted only when it is full: 50 partitions of each topic with the default of 100 MiB grow to 10 GB.
offsets.topic.segment.bytes: 2097152
transaction.state.log.segment.bytes: 2097152
# Kafka's defaults: segments of 1 GiB, 100 MiB in total.
metadata.log.segment.bytes: 8388608
metadata.max.retention.bytes: 16777216
metadata.log.max.record.bytes.between.snapshots: 4194304
# Flink's connector uses a new transactional id for each checkpoint; each takes some 350 bytes of the broker's heap. A job
# that was down for longer than this cannot commit the transactions in its state.
transactional.id.expiration.ms: 259200000
# Each id has a producer, some 300 bytes for each partition that it wrote to. It does not write after its checkpoint.
producer.id.expiration.ms: 3600000
{{- end }}

{{- define "data-collection.kafka.config" -}}
{{- mergeOverwrite (include "data-collection.kafka.ownConfig" .Values.kafka | fromYaml) .Values.kafka.config | toYaml }}
{{- end }}

{{/* A quantity of Kubernetes in bytes. Takes (list NAME QUANTITY). */}}
{{- define "data-collection.bytes" -}}
{{- $text := index . 1 | toString -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?([kKMGT]|[KMGT]i)?$" $text) -}}
{{- fail (printf "%s is %q: expected a number of bytes, with or without a unit (k, M, G, T, Ki, Mi, Gi or Ti), for example 5Gi" (index . 0) $text) -}}
{{- end -}}
{{- $units := dict "" 1 "k" 1000 "K" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" $text) (get $units (regexFind "[a-zA-Z]*$" $text)) | floor | int64 -}}
{{- end }}

{{- define "data-collection.kafka.volumeBytes" -}}
{{ include "data-collection.bytes" (list "kafka.storage.size" .Values.kafka.storage.size) }}
{{- end }}

{{/* The options of a topic. Takes (list . KEY), the key in kafka.topics. Kafka deletes whole segments only, so a retention
check leaves a partition at most retention.bytes + segment.bytes. */}}
{{- define "data-collection.kafka.topicConfig" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- $topic := get $root.Values.kafka.topics $key -}}
{{- $percent := get (dict "tweets" 40 "rejected" 12 "events" 3) $key -}}
{{- $volume := include "data-collection.kafka.volumeBytes" $root | int64 -}}
{{- $partition := div (mul (div $volume 100) $percent) $topic.partitions | int64 -}}
{{- /* Kafka rejects a batch that is larger than a segment. A batch has at most 1 MiB and a few bytes. */}}
{{- $own := min 134217728 (max 2097152 (div $partition 8)) -}}
{{- $segment := get $topic.config "segment.bytes" | default $own | int64 -}}
{{- $retention := sub $partition $segment -}}
{{- if and (lt $retention $segment) (not (hasKey $topic.config "retention.bytes")) }}
{{- fail (printf "kafka.storage.size is %s: a partition of topic %s gets %d bytes of it, but must hold two segments of %d bytes. Use a larger volume or fewer partitions, or set retention.bytes in kafka.topics.%s.config" $root.Values.kafka.storage.size $topic.name $partition $segment $key) }}
{{- end }}
{{- $config := dict "retention.bytes" $retention "segment.bytes" $segment "file.delete.delay.ms" 1000 -}}
{{- mergeOverwrite $config $topic.config | toYaml }}
{{- end }}

{{/* The write quota of each of the two jobs, in bytes per second and broker. Together they fill at most the 20 % reserve,
within the time between two retention checks plus 1 s until deleted files are gone plus 11 s, over which Kafka averages a
quota. Kafka counts at the partition leaders only; with replication, a broker also stores what the other brokers accept.
Strimzi's field is a 32-bit number. */}}
{{- define "data-collection.kafka.producerByteRate" -}}
{{- $config := include "data-collection.kafka.config" . | fromYaml -}}
{{- $seconds := add 12 (div (add 999 (int64 (get $config "log.retention.check.interval.ms"))) 1000) -}}
{{- $brokers := gt (int .Values.kafka.replicationFactor) 1 | ternary .Values.kafka.replicas 1 -}}
{{- min 2147483647 (div (div (include "data-collection.kafka.volumeBytes" . | int64) 5) (mul 2 $brokers $seconds)) -}}
{{- end }}

{{/* Fails where Kafka's own topics and metadata may need more than their share. A partition of a compacted topic has two
segments that are not compacted yet. The transaction state has a record of some 200 bytes per id, and up to twice that
again before and during compaction. */}}
{{- define "data-collection.kafka.requireRoom" -}}
{{- $config := include "data-collection.kafka.config" . | fromYaml -}}
{{- $metadata := 41943040 -}}
{{- $segments := 0 -}}
{{- range $topic := list "offsets.topic" "transaction.state.log" -}}
{{- $partitions := get $config (print $topic ".num.partitions") | default 50 | int64 -}}
{{- $segments = add $segments (mul 2 $partitions (get $config (print $topic ".segment.bytes") | int64)) -}}
{{- end -}}
{{- $seconds := div (get $config "transactional.id.expiration.ms" | int64) 1000 -}}
{{- $tasks := .Values.aggregator.parallelism | int -}}
{{- if .Values.aggregator.autoscaler.enabled -}}
{{- $tasks = max $tasks (.Values.aggregator.autoscaler.maxParallelism | int) -}}
{{- end -}}
{{- /* The collector writes to both topics, with a transaction for each. */}}
{{- $ids := add (div (mul $seconds 2 .Values.collector.parallelism) (.Values.collector.settings.CHECKPOINT_SECONDS | default 2))
  (div (mul $seconds $tasks) (.Values.aggregator.settings.CHECKPOINT_SECONDS | default 10)) -}}
{{- $needed := add $metadata $segments (mul 600 $ids) -}}
{{- $share := div (include "data-collection.kafka.volumeBytes" . | int64) 5 -}}
{{- if gt $needed $share -}}
{{- fail (printf "kafka.storage.size is %s: Kafka's own topics may need %d bytes, but get a fifth of it. Use at least %dMi, or lower transactional.id.expiration.ms in kafka.config, or, before the first install, offsets.topic.num.partitions and transaction.state.log.num.partitions" .Values.kafka.storage.size $needed (add 1 (div (mul 5 $needed) 1048576))) -}}
{{- end -}}
{{- end }}
