{{/* The beginning of a container that runs one of files/*.py with the watchdog's Python. Takes (list . FILE). */}}
{{- define "data-collection.script" -}}
{{- $root := index . 0 -}}
name: {{ include "data-collection.component" $root }}
{{ include "data-collection.image" (list $root $root.Values.watchdog.image) }}
command: [/opt/venv/bin/python, /scripts/{{ index . 1 }}]
securityContext:
  {{- include "data-collection.containerSecurityContext" $root | nindent 2 }}
resources:
  # Next to nothing: on a node whose processors are all requested, `helm uninstall` would wait in vain.
  requests: {cpu: 1m, memory: 16Mi}
  limits: {memory: 128Mi}
{{- end }}
