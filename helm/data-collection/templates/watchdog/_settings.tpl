{{/* The watchdog's settings: the resources that it watches, its connection to Kafka, and its time limits. */}}
{{- define "data-collection.watchdog.settings" -}}
{{- $name := include "data-collection.fullname" . -}}
SIMULATOR_DEPLOYMENT: {{ $name }}-simulator
SIMULATOR_CONFIGMAP: {{ $name }}-simulator
{{- with .Values.simulator.existingSecret }}
SIMULATOR_SECRET: {{ . }}
{{- end }}
SIMULATOR_SELECTOR: app.kubernetes.io/name={{ .Chart.Name }},app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=simulator
COLLECTOR: {{ $name }}-collector
{{ include "data-collection.kafka.settings" . }}
{{- with .Values.watchdog.settings }}
{{ toYaml . }}
{{- end }}
{{- end }}
