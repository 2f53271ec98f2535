{{- define "data-collection.collector.settings" -}}
{{- $feed := include "data-collection.collector.feed" . | fromJson -}}
{{ include "data-collection.kafka.settings" . }}
KAFKA_EVENTS_TOPIC: {{ .Values.kafka.topics.events.name | quote }}
{{- with .Values.collector.settings }}
{{ toYaml . }}
{{- end }}
{{- if .Values.collector.feed }}
FEED: {{ $feed.setting }}
{{- end }}
{{- if .Values.collector.existingSecret }}
{{- if hasKey .Values.collector.settings "WEBSOCKET_URL" }}
{{- fail "collector.existingSecret holds the feed's address: collector.settings.WEBSOCKET_URL must not be set as well" }}
{{- end }}
WEBSOCKET_URL_FILE: /etc/feed-client/url
{{- else if not (hasKey .Values.collector.settings "WEBSOCKET_URL") }}
{{- if $feed.simulated }}
{{- if not .Values.simulator.enabled }}
{{- fail (printf "the feed %s reads this chart's simulator, which simulator.enabled=false switches off: choose another collector.feed, or set collector.settings.WEBSOCKET_URL or collector.existingSecret" $feed.setting) }}
{{- end }}
WEBSOCKET_URL: ws://{{ include "data-collection.fullname" . }}-simulator:5555
{{- else if not $feed.urls }}
{{- fail "the feed has no server: set connect.urls in collector.feed, or collector.settings.WEBSOCKET_URL or collector.existingSecret" }}
{{- end }}
{{- end }}
{{- if .Values.collector.caSecret }}
WEBSOCKET_CA_FILE: /etc/feed-client/ca.crt
{{- end }}
{{- end }}

{{/* The feed as JSON: the setting FEED, whether the simulator is its server, its servers and its longest silence. A preset's
come from files/presets.json, which `make manifests` writes. */}}
{{- define "data-collection.collector.feed" -}}
{{- $given := .Values.collector.feed -}}
{{- $settings := .Values.collector.settings -}}
{{- if and $given (hasKey $settings "FEED") -}}
{{- fail "collector.feed is the feed: collector.settings.FEED must not be set as well" -}}
{{- end -}}
{{- $feed := $given | default (get $settings "FEED") | default "simulator" -}}
{{- if kindIs "map" $feed -}}
{{- $connect := get $feed "connect" | default dict -}}
{{- $keepalive := get $feed "keepalive" | default dict -}}
{{- $silence := hasKey $keepalive "max_silence" | ternary (get $keepalive "max_silence") 60 -}}
{{- dict "setting" "/etc/feed-client/feed.yaml" "simulated" false "urls" (get $connect "urls" | default list)
  "proxy" (get $connect "proxy" | default "") "maxSilence" $silence | toJson -}}
{{- else -}}
{{- $preset := get (.Files.Get "files/presets.json" | fromJson) $feed -}}
{{- dict "setting" $feed "simulated" (has $feed (list "simulator" "text")) "urls" $preset.urls "proxy" ""
  "maxSilence" $preset.maxSilence | toJson -}}
{{- end -}}
{{- end }}

{{/* The ports of the feed's servers and of its proxy, as a JSON list under `ports`. It is empty for the chart's simulator, and
for an address in a Secret, which the chart cannot read. */}}
{{- define "data-collection.collector.ports" -}}
{{- $feed := include "data-collection.collector.feed" . | fromJson -}}
{{- $urls := $feed.simulated | ternary list $feed.urls -}}
{{- if .Values.collector.existingSecret -}}
{{- $urls = list -}}
{{- else if hasKey .Values.collector.settings "WEBSOCKET_URL" -}}
{{- $urls = regexSplit " *, *" .Values.collector.settings.WEBSOCKET_URL -1 -}}
{{- end -}}
{{- $ports := list -}}
{{- range compact (append $urls $feed.proxy) -}}
{{- $ports = append $ports (include "data-collection.port" . | int) -}}
{{- end -}}
{{- dict "ports" (uniq $ports) | toJson -}}
{{- end }}

{{/* The files of the feed that the settings name: its definition, its secret address, and a CA. Empty when it has none. */}}
{{- define "data-collection.collector.volume" -}}
{{- $definition := kindIs "map" .Values.collector.feed -}}
{{- if or $definition .Values.collector.existingSecret .Values.collector.caSecret -}}
projected:
  defaultMode: 0440
  sources:
    {{- if $definition }}
    - configMap:
        name: {{ include "data-collection.fullname" . }}-collector
        items: [{key: feed.yaml, path: feed.yaml}]
    {{- end }}
    {{- with .Values.collector.existingSecret }}
    - secret:
        name: {{ . | quote }}
        items: [{key: url, path: url}]
    {{- end }}
    {{- with .Values.collector.caSecret }}
    - secret:
        name: {{ . | quote }}
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- end }}
