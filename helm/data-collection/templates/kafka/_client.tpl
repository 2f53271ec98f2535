{{/* How the calling template's component connects to Kafka: its settings, and a volume with its files. */}}

{{- define "data-collection.kafka.settings" -}}
{{- $protocol := include "data-collection.kafka.protocol" . -}}
KAFKA_BOOTSTRAP_SERVERS: {{ include "data-collection.kafka.bootstrapServers" . | quote }}
KAFKA_TOPIC: {{ .Values.kafka.topics.tweets.name | quote }}
KAFKA_REJECTED_TOPIC: {{ .Values.kafka.topics.rejected.name | quote }}
KAFKA_ID_PREFIX: {{ include "data-collection.kafka.idPrefix" . }}
KAFKA_SECURITY_PROTOCOL: {{ $protocol }}
{{- if include "data-collection.kafka.caSecret" . }}
KAFKA_CA_FILE: {{ include "data-collection.kafka.folder" . }}/ca.crt
{{- end }}
{{- if hasPrefix "SASL" $protocol }}
KAFKA_PASSWORD_FILE: {{ include "data-collection.kafka.folder" . }}/password
{{- if eq .Values.kafka.mode "strimzi" }}
KAFKA_USERNAME: {{ include "data-collection.fullname" . }}-{{ include "data-collection.component" . }}
{{- else }}
KAFKA_USERNAME:
  secretKeyRef:
    name: {{ include "data-collection.kafka.externalUser" . | quote }}
    key: username
{{- end }}
{{- end }}
{{- end }}

{{/* Empty when the connection uses neither a password nor a CA certificate. */}}
{{- define "data-collection.kafka.volume" -}}
{{- $password := hasPrefix "SASL" (include "data-collection.kafka.protocol" .) -}}
{{- $ca := include "data-collection.kafka.caSecret" . -}}
{{- if or $password $ca -}}
projected:
  defaultMode: 0440
  sources:
    {{- if $password }}
    - secret:
        {{- if eq .Values.kafka.mode "strimzi" }}
        name: {{ include "data-collection.kafka.passwords" . | quote }}
        items: [{key: {{ include "data-collection.component" . }}, path: password}]
        {{- else }}
        name: {{ include "data-collection.kafka.externalUser" . | quote }}
        items: [{key: password, path: password}]
        {{- end }}
    {{- end }}
    {{- if $ca }}
    - secret:
        name: {{ $ca | quote }}
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- end }}

{{/* The prefix of transactional ids and consumer groups. Two releases on one Kafka need different prefixes. */}}
{{- define "data-collection.kafka.idPrefix" -}}
{{- if eq .Values.kafka.mode "external" }}{{ .Release.Namespace }}.{{ end }}{{ include "data-collection.fullname" . }}
{{- end }}

{{- define "data-collection.kafka.folder" -}}
/etc/kafka-client
{{- end }}

{{- define "data-collection.kafka.protocol" -}}
{{ eq .Values.kafka.mode "strimzi" | ternary "SASL_SSL" .Values.kafka.external.securityProtocol }}
{{- end }}

{{- define "data-collection.kafka.bootstrapServers" -}}
{{- if eq .Values.kafka.mode "strimzi" -}}
{{ include "data-collection.fullname" . }}-kafka-bootstrap:9093
{{- else -}}
{{ required "kafka.external.bootstrapServers is needed with kafka.mode=external" .Values.kafka.external.bootstrapServers }}
{{- end }}
{{- end }}

{{/* The Secret with a password for each KafkaUser. Strimzi can generate passwords too, but only when its brokers run; a pod
that mounts one could not start before. */}}
{{- define "data-collection.kafka.passwords" -}}
{{ .Values.kafka.existingSecret | default (print (include "data-collection.fullname" .) "-kafka-users") }}
{{- end }}

{{- define "data-collection.kafka.externalSecret" -}}
{{ required "kafka.external.existingSecret is needed: the connection uses a password or a CA certificate" .Values.kafka.external.existingSecret }}
{{- end }}

{{/* The Secret with the user of an external Kafka. The console may have one of its own. */}}
{{- define "data-collection.kafka.externalUser" -}}
{{- if and (eq "console" (include "data-collection.component" .)) .Values.console.kafka.existingSecret -}}
{{ .Values.console.kafka.existingSecret }}
{{- else -}}
{{ include "data-collection.kafka.externalSecret" . }}
{{- end }}
{{- end }}

{{/* Takes (list . USER). */}}
{{- define "data-collection.kafka.authentication" -}}
type: scram-sha-512
password:
  valueFrom:
    secretKeyRef:
      name: {{ include "data-collection.kafka.passwords" (index . 0) | quote }}
      key: {{ index . 1 }}
{{- end }}

{{/* The Secret with the CA of the brokers' certificates. Empty when the image's trust store is enough. */}}
{{- define "data-collection.kafka.caSecret" -}}
{{- if eq .Values.kafka.mode "strimzi" -}}
{{ include "data-collection.fullname" . }}-cluster-ca-cert
{{- else if and (hasSuffix "SSL" .Values.kafka.external.securityProtocol) (not .Values.kafka.external.tls.useSystemCAs) -}}
{{ include "data-collection.kafka.externalSecret" . }}
{{- end }}
{{- end }}
