{{/* The first fields of a container that runs one of files/*.py with the Python of the watchdog's image. Takes
(list . FILE). */}}
{{- define "data-collection.script" -}}
{{- $root := index . 0 -}}
name: {{ include "data-collection.component" $root }}
{{ include "data-collection.image" (list $root $root.Values.watchdog.image) }}
command: [/opt/venv/bin/python, /scripts/{{ index . 1 }}]
securityContext:
  {{- include "data-collection.containerSecurityContext" $root | nindent 2 }}
resources:
  # A tiny request: on nodes whose CPUs are all requested, a larger one would block `helm uninstall`.
  requests: {cpu: 1m, memory: 16Mi}
  limits: {memory: 128Mi}
{{- end }}
