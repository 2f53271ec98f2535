{{/* What all templates share: names, labels, images, and what every pod has in common.
A template's component is the folder that it is in: templates/simulator/*.yaml make the component "simulator". */}}

{{/* The prefix of every name. The pattern is what Kubernetes and Flink accept; they would report a wrong name later and
less clearly. */}}
{{- define "data-collection.fullname" -}}
{{- $own := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name := .Values.fullnameOverride | default $own }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,32}[a-z0-9])?$" $name) }}
{{- fail (printf "%q cannot be the prefix of every name: Flink accepts at most 45 characters, which leaves 34 of a-z, 0-9 and '-', beginning with a letter. Choose another release name or set fullnameOverride." $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* The component of the calling template. */}}
{{- define "data-collection.component" -}}
{{ .Template.Name | dir | base }}
{{- end }}

{{/* Labels that select everything of this release. */}}
{{- define "data-collection.releaseLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels that select the pods of the calling template's component. */}}
{{- define "data-collection.selectorLabels" -}}
{{ include "data-collection.releaseLabels" . }}
app.kubernetes.io/component: {{ include "data-collection.component" . }}
{{- end }}

{{/* Labels of a pod. None of them changes with the chart's version: that alone would restart every pod and job. */}}
{{- define "data-collection.podLabels" -}}
{{ include "data-collection.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of an object that is no pod. */}}
{{- define "data-collection.labels" -}}
{{ include "data-collection.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Name and labels of the object that the component is named after. */}}
{{- define "data-collection.metadata" -}}
name: {{ include "data-collection.fullname" . }}-{{ include "data-collection.component" . }}
labels:
  {{- include "data-collection.labels" . | nindent 2 }}
{{- end }}

{{/* Labels and annotations of a pod template. */}}
{{- define "data-collection.podMetadata" -}}
labels:
  {{- include "data-collection.podLabels" . | nindent 2 }}
{{- with .Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Takes (list . VALUES): the values of one of this project's images. */}}
{{- define "data-collection.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $reference := dict "repository" $image.repository "tag" ($image.tag | default $root.Chart.AppVersion) -}}
image: {{ with $root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ include "data-collection.reference" $reference }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end }}

{{/* Repository and tag of an image. The tag may be a digest alone, `@sha256:...`. */}}
{{- define "data-collection.reference" -}}
{{ .repository }}{{ if not (hasPrefix "@" .tag) }}:{{ end }}{{ .tag }}
{{- end }}

{{/* The first fields of every pod's spec. Takes (list . USER) or (list . USER SERVICE_ACCOUNT). */}}
{{- define "data-collection.pod" -}}
{{- $root := index . 0 -}}
{{- $user := index . 1 -}}
{{- if gt (len .) 2 -}}
serviceAccountName: {{ index . 2 }}
{{- else -}}
automountServiceAccountToken: false
{{- end }}
{{- /* Variables of service links look like settings: the Service `simulator` would set SIMULATOR_PORT. */}}
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
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not (hasKey . "labelSelector") }}
    labelSelector:
      matchLabels:
        {{- include "data-collection.selectorLabels" $root | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "data-collection.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A map of settings as environment variables. A value may be a valueFrom. Numbers go through toJson, which writes
12000000 where Go's templates write 1.2e+07. */}}
{{- define "data-collection.env" -}}
{{- with get . "Error" }}
{{- fail . }}{{/* fromYaml does not fail: it returns its error under this key */}}
{{- end }}
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
