{{- define "data-collection.collector.settings" -}}
{{ include "data-collection.kafka.settings" . }}
{{- with .Values.collector.settings }}
{{ toYaml . }}
{{- end }}
{{- if .Values.collector.existingSecret }}
{{- if hasKey .Values.collector.settings "WEBSOCKET_URL" }}
{{- fail "collector.existingSecret holds the feed's address: collector.settings.WEBSOCKET_URL must not be set as well" }}
{{- end }}
WEBSOCKET_URL_FILE: /etc/feed-client/url
{{- else if not (hasKey .Values.collector.settings "WEBSOCKET_URL") }}
{{- if or (not .Values.simulator.enabled) (eq (get .Values.collector.settings "FEED") "jetstream") }}
{{- fail "collector.settings.WEBSOCKET_URL is needed, or collector.existingSecret, since the feed is not this chart's simulator" }}
{{- end }}
WEBSOCKET_URL: ws://{{ include "data-collection.fullname" . }}-simulator:5555
{{- end }}
{{- if .Values.collector.caSecret }}
WEBSOCKET_CA_FILE: /etc/feed-client/ca.crt
{{- end }}
{{- end }}

{{/* Empty when the feed has neither a secret address nor a CA of its own. */}}
{{- define "data-collection.collector.volume" -}}
{{- if or .Values.collector.existingSecret .Values.collector.caSecret -}}
projected:
  defaultMode: 0440
  sources:
    {{- with .Values.collector.existingSecret }}
    - secret:
        name: {{ . }}
        items: [{key: url, path: url}]
    {{- end }}
    {{- with .Values.collector.caSecret }}
    - secret:
        name: {{ . }}
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- end }}
