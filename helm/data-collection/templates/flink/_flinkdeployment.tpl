{{/* The FlinkDeployment of the calling template's component, which is a job. Takes (list . SETTINGS VOLUMES ANNOTATIONS).
VOLUMES lists the volumes with files that the settings refer to: name, path and volume. ANNOTATIONS are those of the pods. */}}
{{- define "data-collection.flinkdeployment" -}}
{{- $settings := index . 1 -}}
{{- $volumes := index . 2 -}}
{{- $annotations := index . 3 -}}
{{- with index . 0 -}}
{{- $operator := get .Values "flink-kubernetes-operator" -}}
{{- if and $operator.enabled $operator.watchNamespaces (not (has .Release.Namespace $operator.watchNamespaces)) -}}
{{- fail (printf "flink-kubernetes-operator.watchNamespaces must include %q: otherwise no operator starts the jobs" .Release.Namespace) -}}
{{- end -}}
{{- $component := include "data-collection.component" . -}}
{{- $job := get .Values $component -}}
{{- $kafkaVolume := include "data-collection.kafka.volume" . -}}
apiVersion: flink.apache.org/v1beta1
kind: FlinkDeployment
metadata:
  {{- include "data-collection.metadata" . | nindent 2 }}
spec:
  {{- include "data-collection.image" (list . .Values.flink.image) | nindent 2 }}
  flinkVersion: {{ .Values.flink.version }}
  serviceAccount: {{ include "data-collection.fullname" . }}-flink
  flinkConfiguration:
    {{- $configuration := include "data-collection.flink.configuration" . | fromYaml }}
    {{- with get $configuration "Error" }}
    {{- fail . }}{{/* see data-collection.env */}}
    {{- end }}
    {{- mergeOverwrite $configuration .Values.flink.extraConfiguration $job.extraConfiguration | toYaml | nindent 4 }}
  podTemplate:
    metadata:
      labels:
        {{- include "data-collection.podLabels" . | nindent 8 }}
      {{- with merge $annotations (.Values.podAnnotations | default dict) }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "data-collection.pod" (list . 9999 (print (include "data-collection.fullname" .) "-flink")) | nindent 6 }}
      containers:
        - name: flink-main-container
          securityContext:
            {{- include "data-collection.containerSecurityContext" . | nindent 12 }}
          {{- if .Values.metrics.enabled }}
          ports:
            - name: metrics
              containerPort: 9249
          {{- end }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- if eq .Values.flink.storage.type "volume" }}
            - name: state
              mountPath: /flink-state
            {{- end }}
            {{- if .Values.flink.storage.existingSecret }}
            # A file and no variables: Flink logs the environment of a failing worker.
            - name: s3
              mountPath: {{ include "data-collection.flink.s3Folder" . }}
              readOnly: true
            {{- end }}
            {{- if $kafkaVolume }}
            - name: kafka
              mountPath: {{ include "data-collection.kafka.folder" . }}
              readOnly: true
            {{- end }}
            {{- range $volumes }}
            - name: {{ .name }}
              mountPath: {{ .path }}
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- if eq .Values.flink.storage.type "volume" }}
        - name: state
          persistentVolumeClaim:
            claimName: {{ include "data-collection.fullname" . }}-flink-state
        {{- end }}
        {{- with .Values.flink.storage.existingSecret }}
        - name: s3
          secret:
            secretName: {{ . | quote }}
            defaultMode: 0440
            items: [{key: credentials, path: credentials}]
        {{- end }}
        {{- with $kafkaVolume }}
        - name: kafka
          {{- . | nindent 10 }}
        {{- end }}
        {{- range $volumes }}
        - name: {{ .name }}
          {{- toYaml .volume | nindent 10 }}
        {{- end }}
  jobManager:
    replicas: {{ $job.jobManager.replicas }}
    resource:
      cpu: {{ $job.jobManager.cpu }}
      memory: {{ $job.jobManager.memory }}
    # The job reads its settings in main(), which runs in the JobManager only.
    podTemplate:
      spec:
        containers:
          - name: flink-main-container
            env:
              {{- include "data-collection.env" $settings | nindent 14 }}
  taskManager:
    resource:
      cpu: {{ $job.taskManager.cpu }}
      memory: {{ $job.taskManager.memory }}
  job:
    jarURI: local:///opt/flink/opt/flink-python-1.20.5.jar
    entryClass: org.apache.flink.client.python.PythonDriver
    args: [-pyfs, /opt/flink/usrlib, -pym, jobs.{{ $component }}_stream]
    parallelism: {{ $job.parallelism }}
    upgradeMode: {{ $job.upgradeMode }}
    allowNonRestoredState: false
    {{- with $job.initialSavepointPath }}
    initialSavepointPath: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
