{{/* The console's settings: what it reads, and the names at which it answers. */}}
{{- define "data-collection.console.settings" -}}
{{- $name := include "data-collection.fullname" . -}}
CONSOLE_ALLOWED_HOSTS: {{ concat .Values.console.allowedHosts (include "data-collection.console.hosts" . | fromJsonArray) | uniq | join "," | quote }}
COLLECTOR_FLINK_URL: http://{{ $name }}-collector-rest:8081
AGGREGATOR_FLINK_URL: http://{{ $name }}-aggregator-rest:8081
{{- with .Values.console.flinkPages.collector }}
COLLECTOR_FLINK_PAGE: {{ . | quote }}
{{- end }}
{{- with .Values.console.flinkPages.aggregator }}
AGGREGATOR_FLINK_PAGE: {{ . | quote }}
{{- end }}
KUBERNETES_NAMESPACE: {{ .Release.Namespace | quote }}
{{- if .Values.console.kubernetesEvents }}
KUBERNETES_EVENTS_OF: {{ $name }}
{{- end }}
CHART_VERSION: {{ .Chart.Version | quote }}
{{- if and .Values.watchdog.enabled .Values.simulator.enabled }}
WATCHDOG_METRICS_URL: http://{{ $name }}-watchdog:9249/metrics
{{- end }}
KAFKA_EVENTS_TOPIC: {{ .Values.kafka.topics.events.name | quote }}
{{ include "data-collection.kafka.settings" . }}
{{ include "data-collection.mongodb.settings" . }}
{{- /* Those that the page shows or judges by. No others, which may hold an address with a password. */}}
{{- with pick .Values.aggregator.settings "WINDOW_SECONDS" "ALLOWED_LATENESS_SECONDS" "WORLDOMETERS_REFRESH_SECONDS" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The names of the Ingress, as a JSON list. */}}
{{- define "data-collection.console.hosts" -}}
{{- with .Values.console.ingress -}}
{{- if and .enabled (not .hosts) -}}
{{- fail "console.ingress.hosts is needed with console.ingress.enabled=true: the console answers known names only" -}}
{{- end -}}
{{- .enabled | ternary .hosts list | toJson -}}
{{- end -}}
{{- end }}

{{/* The Secret with MongoDB's address, as `uri`, of a user that may only read. Strimzi writes the password of the KafkaUser
`FULLNAME-console` into a Secret of that name, so this one has another name. */}}
{{- define "data-collection.console.mongodbSecret" -}}
{{- if .Values.console.mongodb.existingSecret -}}
{{ .Values.console.mongodb.existingSecret }}
{{- else if eq .Values.mongodb.mode "internal" -}}
{{ include "data-collection.fullname" . }}-console-mongodb
{{- else -}}
{{ include "data-collection.mongodb.secret" . }}
{{- end }}
{{- end }}
