{{/* Strimzi hands them on to its pods: so, as for all pods, none that changes with the chart's version. */}}
{{- define "data-collection.kafka.labels" -}}
strimzi.io/cluster: {{ include "data-collection.fullname" . }}
{{ include "data-collection.podLabels" . }}
{{- end }}

{{/* Of the topic operator and the user operator, from the values of kafka. */}}
{{- define "data-collection.kafka.operator" -}}
jvmOptions:
  -Xms: {{ .entityOperator.heap }}
  -Xmx: {{ .entityOperator.heap }}
resources:
  {{- toYaml .entityOperator.resources | nindent 2 }}
{{- end }}

{{/* This takes the place of Strimzi's own, which leaves the root writable. */}}
{{- define "data-collection.kafka.container" -}}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
  {{- include "data-collection.containerSecurityContext" . | nindent 2 }}
{{- end }}

{{/* Strimzi has no node selector of its own: it is said as an affinity. */}}
{{- define "data-collection.kafka.pod" }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- range $label, $value := . }}
            - {key: {{ $label }}, operator: In, values: [{{ $value | quote }}]}
            {{- end }}
{{- end }}
{{- end }}
