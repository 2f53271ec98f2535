{{/* By how much each series of a count grew within a time. Takes (list SELECTOR TIME). A series that is younger than that
counts from 0: each attempt of a task has series of its own, and may count before it is scraped for the first time. So
neither increase() nor delta() does: both leave out what a series begins with. */}}
{{- define "data-collection.growth" -}}
{{- $series := index . 0 -}}
{{- $time := index . 1 -}}
(max_over_time({{ $series }}[{{ $time }}]) - {{ $series }} offset {{ $time }} or max_over_time({{ $series }}[{{ $time }}]))
{{- end }}

{{/* For how many minutes the feed may send no post; 0: for ever. Where the collector bears silence for ever, so does the
alert, unless the value says otherwise. */}}
{{- define "data-collection.noPostsMinutes" -}}
{{- $settings := .Values.collector.settings -}}
{{- $bearsSilence := eq (get $settings "FEED") "text" -}}
{{- if hasKey $settings "MAX_SILENCE_SECONDS" -}}
{{- $bearsSilence = eq (int $settings.MAX_SILENCE_SECONDS) 0 -}}
{{- end -}}
{{- if kindIs "invalid" .Values.metrics.noPostsMinutes -}}
{{ $bearsSilence | ternary 0 5 }}
{{- else -}}
{{ .Values.metrics.noPostsMinutes }}
{{- end -}}
{{- end }}
