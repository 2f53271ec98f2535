{{- define "data-collection.aggregator.settings" -}}
{{ include "data-collection.kafka.settings" . }}
{{ include "data-collection.mongodb.settings" . }}
{{- with .Values.aggregator.settings }}
{{ toYaml . }}
{{- end }}
{{- if and .Values.worldometersStub.enabled (not (hasKey .Values.aggregator.settings "WORLDOMETERS_URL")) }}
WORLDOMETERS_URL: http://{{ include "data-collection.fullname" . }}-worldometers:5556/coronavirus/
{{- end }}
{{- end }}
