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

{{/* The port of the page with the counters, if it is another one than 443. Empty for an address that the chart cannot read. */}}
{{- define "data-collection.aggregator.pagePort" -}}
{{- $url := get .Values.aggregator.settings "WORLDOMETERS_URL" -}}
{{- if and $url (kindIs "string" $url) -}}
{{- $port := include "data-collection.port" $url -}}
{{- if ne $port "443" }}{{ $port }}{{ end -}}
{{- end -}}
{{- end }}
