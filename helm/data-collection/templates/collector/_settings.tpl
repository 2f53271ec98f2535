{{- define "data-collection.collector.settings" -}}
{{ include "data-collection.kafka.settings" . }}
{{- with .Values.collector.settings }}
{{ toYaml . }}
{{- end }}
{{- if not (hasKey .Values.collector.settings "WEBSOCKET_URL") }}
{{- if or (not .Values.simulator.enabled) (eq (get .Values.collector.settings "FEED") "jetstream") }}
{{- fail "collector.settings.WEBSOCKET_URL is needed, since the feed is not this chart's simulator" }}
{{- end }}
WEBSOCKET_URL: ws://{{ include "data-collection.fullname" . }}-simulator:5555
{{- end }}
{{- end }}
