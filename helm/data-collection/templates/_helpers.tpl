{{/* The start of every name. Kubernetes and Flink would refuse other names later, with less clear words. */}}
{{- define "data-collection.fullname" -}}
{{- $own := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name := .Values.fullnameOverride | default $own }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,32}[a-z0-9])?$" $name) }}
{{- fail (printf "%q cannot start every name: Flink takes at most 45 characters, which leaves 34 of a-z, 0-9 and '-', a letter first. Choose another release name or set fullnameOverride." $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* The component that a template belongs to: the folder that it is in. */}}
{{- define "data-collection.component" -}}
{{ .Template.Name | dir | base }}
{{- end }}

{{/* Of all that this release makes. */}}
{{- define "data-collection.releaseLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "data-collection.selectorLabels" -}}
{{ include "data-collection.releaseLabels" . }}
app.kubernetes.io/component: {{ include "data-collection.component" . }}
{{- end }}

{{/* Of a pod: no label changes with the chart's version, since that alone would restart every pod and job. */}}
{{- define "data-collection.podLabels" -}}
{{ include "data-collection.selectorLabels" . }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "data-collection.labels" -}}
{{ include "data-collection.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "data-collection.metadata" -}}
name: {{ include "data-collection.fullname" . }}-{{ include "data-collection.component" . }}
labels:
  {{- include "data-collection.labels" . | nindent 2 }}
{{- end }}

{{/* Takes (list . VALUES): the values of one of this project's images. */}}
{{- define "data-collection.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
image: {{ with $root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end }}

{{/* What the spec of every pod begins with. Takes (list . USER) or (list . USER SERVICE_ACCOUNT). */}}
{{- define "data-collection.pod" -}}
{{- $root := index . 0 -}}
{{- $user := index . 1 -}}
{{- if gt (len .) 2 -}}
serviceAccountName: {{ index . 2 }}
{{- else -}}
automountServiceAccountToken: false
{{- end }}
{{- /* The variables of service links look like settings: the Service `simulator` would set SIMULATOR_PORT. */}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $user }}
  runAsGroup: {{ $user }}
  fsGroup: {{ $user }}
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "data-collection.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A map of settings as environment variables; the value of one may be a valueFrom. JSON writes 12000000 in full, where
Go's templates say 1.2e+07. */}}
{{- define "data-collection.env" -}}
{{- $variables := list }}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
{{- $variables = append $variables (dict "name" $name "valueFrom" $value) }}
{{- else }}
{{- $variables = append $variables (dict "name" $name "value" (kindIs "string" $value | ternary $value (toJson $value))) }}
{{- end }}
{{- end }}
{{- toYaml $variables }}
{{- end }}
