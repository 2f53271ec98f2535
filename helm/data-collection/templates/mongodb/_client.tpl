{{/* The Secret with MongoDB's address as `uri`; with mode `internal` also with the users and passwords. */}}
{{- define "data-collection.mongodb.secret" -}}
{{- if and (eq .Values.mongodb.mode "external") (not .Values.mongodb.existingSecret) }}
{{- fail "mongodb.existingSecret is needed with mongodb.mode=external: a Secret with the key uri" }}
{{- end }}
{{- .Values.mongodb.existingSecret | default (print (include "data-collection.fullname" .) "-mongodb") }}
{{- end }}

{{- define "data-collection.mongodb.settings" -}}
MONGODB_URI_FILE: {{ include "data-collection.mongodb.folder" . }}/uri
{{- if .Values.mongodb.caSecret }}
MONGODB_CA_FILE: {{ include "data-collection.mongodb.folder" . }}/ca.crt
{{- end }}
MONGODB_DATABASE: {{ .Values.mongodb.database | quote }}
MONGODB_COLLECTION: {{ .Values.mongodb.collection | quote }}
{{- end }}

{{/* The address is a file and no variable: Flink logs the environment of the process that submits a job. */}}
{{- define "data-collection.mongodb.volume" -}}
{{- if and .Values.mongodb.caSecret (eq .Values.mongodb.mode "internal") }}
{{- fail "mongodb.caSecret is for mongodb.mode=external: the chart's own MongoDB has no TLS" }}
{{- end }}
projected:
  defaultMode: 0440
  sources:
    - secret:
        name: {{ include (eq "console" (include "data-collection.component" .) | ternary "data-collection.console.mongodbSecret" "data-collection.mongodb.secret") . | quote }}
        items: [{key: uri, path: uri}]
    {{- with .Values.mongodb.caSecret }}
    - secret:
        name: {{ . | quote }}
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}

{{- define "data-collection.mongodb.folder" -}}
/etc/mongodb-client
{{- end }}
