{{/* The Secret: `uri` in both modes, and what it is made of where this chart runs the database. */}}
{{- define "data-collection.mongodb.secret" -}}
{{- if and (eq .Values.mongodb.mode "external") (not .Values.mongodb.existingSecret) }}
{{- fail "mongodb.existingSecret is needed with mongodb.mode=external: a Secret with the key uri" }}
{{- end }}
{{- .Values.mongodb.existingSecret | default (print (include "data-collection.fullname" .) "-mongodb") }}
{{- end }}

{{- define "data-collection.mongodb.settings" -}}
MONGODB_URI_FILE: {{ include "data-collection.mongodb.folder" . }}/uri
MONGODB_DATABASE: {{ .Values.mongodb.database | quote }}
MONGODB_COLLECTION: {{ .Values.mongodb.collection | quote }}
{{- end }}

{{/* A file, and no variable: Flink logs the environment of what submits a job. */}}
{{- define "data-collection.mongodb.volume" -}}
secret:
  secretName: {{ include "data-collection.mongodb.secret" . }}
  defaultMode: 0440
  items: [{key: uri, path: uri}]
{{- end }}

{{- define "data-collection.mongodb.folder" -}}
/etc/mongodb-client
{{- end }}
