{{/* The Secret: `uri` in both modes, and what it is made of where this chart runs the database. */}}
{{- define "data-collection.mongodb.secret" -}}
{{- if and (eq .Values.mongodb.mode "external") (not .Values.mongodb.existingSecret) }}
{{- fail "mongodb.existingSecret is needed with mongodb.mode=external: a Secret with the key uri" }}
{{- end }}
{{- .Values.mongodb.existingSecret | default (print (include "data-collection.fullname" .) "-mongodb") }}
{{- end }}

{{- define "data-collection.mongodb.settings" -}}
MONGODB_URI:
  secretKeyRef:
    name: {{ include "data-collection.mongodb.secret" . }}
    key: uri
MONGODB_DATABASE: {{ .Values.mongodb.database | quote }}
MONGODB_COLLECTION: {{ .Values.mongodb.collection | quote }}
{{- end }}
