{{/* Fails when the values use a name of an earlier version of this chart, and reports the new name. values.schema.json
accepts the old names, marked as deprecated, only so that this message appears. */}}
{{- define "data-collection.failOnRenamedValues" -}}
{{- $renamed := dict
  "extraLabels" "commonLabels"
  "kafka.external.publicCertificate" "kafka.external.tls.useSystemCAs"
  "metrics.dashboard" "grafanaDashboard.enabled"
  "metrics.noPostsMinutes" "prometheusRule.noPostsMinutes"
  "metrics.podMonitor" "podMonitor.enabled"
  "metrics.rules" "prometheusRule.enabled"
  "operator" "watchdog"
  "uninstall.limitSeconds" "uninstall.timeoutSeconds"
  "worldometers" "worldometersStub"
}}
{{- $found := list }}
{{- range $old, $new := $renamed }}
{{- $keys := splitList "." $old }}
{{- $parent := $.Values }}
{{- range initial $keys }}
{{- $parent = get $parent . | default dict }}
{{- end }}
{{- if hasKey $parent (last $keys) }}
{{- $found = append $found (printf "%s is now %s" $old $new) }}
{{- end }}
{{- end }}
{{- if eq .Values.mongodb.mode "chart" }}
{{- $found = append $found "mongodb.mode=chart is now mongodb.mode=internal" }}
{{- end }}
{{- if $found }}
{{- $unset := "If you did not set these values, upgrade with --reset-then-reuse-values in place of --reuse-values" }}
{{- $set := "If you did, rename them in a file with your values (helm get values), and upgrade with --values" }}
{{- fail (printf "%s. %s. %s" (join ", " $found) $unset $set) }}
{{- end }}
{{- end }}
