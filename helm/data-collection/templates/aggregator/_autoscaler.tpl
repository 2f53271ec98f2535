{{/* The options of the Flink operator's autoscaler. Where an option has an older name that still works, the older name is used. */}}
{{- define "data-collection.aggregator.autoscaler" -}}
{{- with .Values.aggregator.autoscaler }}
{{- if .enabled }}
{{- $buckets := get $.Values.aggregator.settings "WINDOW_BUCKETS" | default 1 | int }}
{{- if gt (int .maxParallelism) $buckets }}
{{- fail (printf "aggregator.autoscaler.maxParallelism=%d: at most aggregator.settings.WINDOW_BUCKETS=%d is allowed, since a task without a bucket gets no posts" (int .maxParallelism) $buckets) }}
{{- end }}
{{- if gt (int .minParallelism) (int .maxParallelism) }}
{{- fail (printf "aggregator.autoscaler.minParallelism=%d: at most aggregator.autoscaler.maxParallelism=%d is allowed" (int .minParallelism) (int .maxParallelism)) }}
{{- end }}
job.autoscaler.enabled: "true"
job.autoscaler.vertex.min-parallelism: {{ .minParallelism | quote }}
job.autoscaler.vertex.max-parallelism: {{ .maxParallelism | quote }}
job.autoscaler.target.utilization: {{ .targetUtilization | quote }}
job.autoscaler.stabilization.interval: {{ .stabilization | quote }}
# Without it, each change of the parallelism is a savepoint and a new submission.
jobmanager.scheduler: adaptive
{{- end }}
{{- end }}
{{- end }}
