{{/* A component's rules for one direction of the allowed connections. Takes (list . CONNECTIONS COMPONENT "to" "from") for
ingress, and (list . CONNECTIONS COMPONENT "from" "to") for egress. */}}
{{- define "data-collection.networkRules" -}}
{{- $root := index . 0 }}
{{- $component := index . 2 }}
{{- $here := index . 3 }}
{{- $there := index . 4 }}
{{- range index . 1 }}
{{- if eq $component (get . $here) }}
- {{ $there }}:
    - podSelector:
        matchLabels:
          {{- include "data-collection.releaseLabels" $root | nindent 10 }}
          app.kubernetes.io/component: {{ get . $there }}
  {{- with .port }}
  ports:
    - port: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port of an address. It may have files in it, as ${file:...}. */}}
{{- define "data-collection.port" -}}
{{- $url := regexReplaceAll "[$][{][^}]*[}]" . "x" -}}
{{- $scheme := regexFind "^[a-z]+" $url -}}
{{- $authority := regexReplaceAll "^[a-z0-9]+://([^/?]*@)?([^/?]*).*$" $url "${2}" -}}
{{- $default := get (dict "ws" "80" "wss" "443" "http" "80" "https" "443") $scheme | default "1080" -}}
{{- regexFind ":[0-9]+$" $authority | trimPrefix ":" | default $default -}}
{{- end }}

{{/* The egress rule to Kafka. */}}
{{- define "data-collection.kafkaRule" -}}
{{- if eq .Values.kafka.mode "strimzi" -}}
- to:
    - podSelector:
        matchLabels:
          strimzi.io/cluster: {{ include "data-collection.fullname" . }}
  ports:
    - port: 9093
{{- else -}}
- ports:
    {{- range regexFindAll ":[0-9]+," (print (include "data-collection.kafka.bootstrapServers" .) ",") -1 | uniq }}
    - port: {{ trimAll ":," . }}
    {{- end }}
{{- end }}
{{- end }}
