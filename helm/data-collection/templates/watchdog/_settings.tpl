{{/* The watchdog's settings: where the simulator and its surroundings are, and how long it waits for what. */}}
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
