{{/* The growth of each series of a counter within a period. Takes (list SELECTOR PERIOD). A series younger than the period
counts from 0: each attempt of a task has its own series, and may count before the first scrape. increase() and delta()
ignore a series' first value, so neither can be used. */}}
{{- define "data-collection.growth" -}}
{{- $series := index . 0 -}}
{{- $time := index . 1 -}}
(max_over_time({{ $series }}[{{ $time }}]) - {{ $series }} offset {{ $time }} or max_over_time({{ $series }}[{{ $time }}]))
{{- end }}

{{/* Minutes without a post after which NoPosts fires; 0: never. Where the collector accepts silence indefinitely, the default
is 0. */}}
{{- define "data-collection.noPostsMinutes" -}}
{{- $settings := .Values.collector.settings -}}
{{- $acceptsSilence := eq (int (include "data-collection.collector.feed" . | fromJson).maxSilence) 0 -}}
{{- if hasKey $settings "MAX_SILENCE_SECONDS" -}}
{{- $acceptsSilence = eq (int $settings.MAX_SILENCE_SECONDS) 0 -}}
{{- end -}}
{{- if kindIs "invalid" .Values.prometheusRule.noPostsMinutes -}}
{{ $acceptsSilence | ternary 0 5 }}
{{- else -}}
{{ .Values.prometheusRule.noPostsMinutes }}
{{- end -}}
{{- end }}

{{/* Labels of each alert, so that the alerts of two releases differ. Takes (list $ SEVERITY). */}}
{{- define "data-collection.alertLabels" -}}
{{- $root := index . 0 -}}
severity: {{ index . 1 }}
namespace: {{ $root.Release.Namespace | quote }}
release: {{ $root.Release.Name | quote }}
{{- end }}
