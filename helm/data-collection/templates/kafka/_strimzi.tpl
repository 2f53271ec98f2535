{{/* Labels of Kafka's resources. Strimzi copies them to its pods, so none changes with the chart's version. */}}
{{- define "data-collection.kafka.labels" -}}
strimzi.io/cluster: {{ include "data-collection.fullname" . }}
{{ include "data-collection.podLabels" . }}
{{- end }}

{{/* Memory and resources of the topic operator and of the user operator. Takes the values of kafka. */}}
{{- define "data-collection.kafka.operator" -}}
jvmOptions:
  -Xms: {{ .entityOperator.heap }}
  -Xmx: {{ .entityOperator.heap }}
  {{- with .entityOperator.jvmOptions }}
  -XX:
    {{- toYaml . | nindent 4 }}
  {{- end }}
resources:
  {{- toYaml .entityOperator.resources | nindent 2 }}
{{- end }}

{{/* A container template. It replaces Strimzi's own, which leaves the root file system writable. */}}
{{- define "data-collection.kafka.container" -}}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
  {{- include "data-collection.containerSecurityContext" . | nindent 2 }}
{{- end }}

{{/* A pod template of Strimzi, as YAML; empty when the values ask for nothing. */}}
{{- define "data-collection.kafka.pod" -}}
{{- $pod := dict }}
{{- with .Values.podAnnotations }}
{{- $_ := set $pod "metadata" (dict "annotations" .) }}
{{- end }}
{{- with .Values.image.pullSecrets }}
{{- $_ := set $pod "imagePullSecrets" . }}
{{- end }}
{{- with .Values.priorityClassName }}
{{- $_ := set $pod "priorityClassName" . }}
{{- end }}
{{- with .Values.tolerations }}
{{- $_ := set $pod "tolerations" . }}
{{- end }}
{{- with include "data-collection.kafka.affinity" . | fromYaml }}
{{- $_ := set $pod "affinity" . }}
{{- end }}
{{- with $pod }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The values' affinity and nodeSelector. Strimzi has no node selector, so its labels become requirements of every term
of the required node affinity. */}}
{{- define "data-collection.kafka.affinity" -}}
{{- $affinity := .Values.affinity | default dict | deepCopy }}
{{- $requirements := list }}
{{- range $label, $value := .Values.nodeSelector }}
{{- $requirements = append $requirements (dict "key" $label "operator" "In" "values" (list $value)) }}
{{- end }}
{{- if $requirements }}
{{- $node := get $affinity "nodeAffinity" | default dict }}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict }}
{{- $terms := list }}
{{- range get $required "nodeSelectorTerms" | default (list dict) }}
{{- $terms = append $terms (set . "matchExpressions" (concat (.matchExpressions | default list) $requirements)) }}
{{- end }}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (set $required "nodeSelectorTerms" $terms) }}
{{- $_ := set $affinity "nodeAffinity" $node }}
{{- end }}
{{- toYaml $affinity }}
{{- end }}
