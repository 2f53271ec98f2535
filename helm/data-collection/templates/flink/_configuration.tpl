{{/* Flink's options. Where an option has an older name that still works, the older name is used, for older operators. */}}
{{- define "data-collection.flink.configuration" -}}
{{- $component := include "data-collection.component" . }}
{{- $folder := printf "%s/%s-%s" (include "data-collection.flink.storage" .) (include "data-collection.fullname" .) $component }}
state.checkpoints.dir: {{ $folder }}/checkpoints
state.savepoints.dir: {{ $folder }}/savepoints
high-availability.type: kubernetes
high-availability.storageDir: {{ $folder }}/ha
restart-strategy.type: exponential-delay
# It wins over the account of the pod template, which the JobManagers have.
kubernetes.taskmanager.service-account: {{ include "data-collection.fullname" . }}-flink-taskmanager
# Milliseconds until a lost node is detected. A deleted pod is detected at once.
heartbeat.interval: "2000"
heartbeat.timeout: "20000"
kubernetes.jobmanager.cpu.limit-factor: {{ .Values.flink.cpuLimitFactor | quote }}
kubernetes.taskmanager.cpu.limit-factor: {{ .Values.flink.cpuLimitFactor | quote }}
taskmanager.numberOfTaskSlots: {{ (get .Values $component).taskManager.slots | quote }}
# For the Python workers. No state is kept in managed memory.
taskmanager.memory.managed.size: 256m
# A JobManager handles no record: the slower compiler is enough, starts faster and needs less memory.
env.java.opts.jobmanager: -XX:+UseSerialGC -XX:TieredStopAtLevel=1
# By default the JVM chooses by the container's size: G1, with which a post costs half as much processor time again.
env.java.opts.taskmanager: -XX:+UseParallelGC
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
# Room for posts that arrive while a window is written. Without these two, 3,000 posts fit between two tasks.
taskmanager.network.memory.floating-buffers-per-gate: "512"
taskmanager.network.memory.max-buffers-per-channel: "512"
web.submit.enable: "false"
# Milliseconds. By default the metrics on the live page and on Flink's pages would be up to 10 s old.
metrics.fetcher.update-interval: "1000"
{{- if .Values.flink.storage.existingSecret }}
s3.aws.credentials.provider: com.amazonaws.auth.profile.ProfileCredentialsProvider
containerized.master.env.AWS_CREDENTIAL_PROFILES_FILE: {{ include "data-collection.flink.s3Folder" . }}/credentials
containerized.taskmanager.env.AWS_CREDENTIAL_PROFILES_FILE: {{ include "data-collection.flink.s3Folder" . }}/credentials
{{- end }}
{{- if eq $component "aggregator" }}
{{ include "data-collection.aggregator.autoscaler" . }}
{{- end }}
{{- if .Values.metrics.enabled }}
metrics.reporter.prom.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory
metrics.reporter.prom.port: "9249"
{{- end }}
{{- end }}

{{- define "data-collection.flink.s3Folder" -}}
/etc/s3-client
{{- end }}

{{/* The root of the jobs' state. Releases may share a bucket, so its path includes the namespace. */}}
{{- define "data-collection.flink.storage" -}}
{{- if eq .Values.flink.storage.type "volume" -}}
file:///flink-state
{{- else -}}
{{ required "flink.storage.uri is needed with flink.storage.type=uri, for example s3://bucket/folder" .Values.flink.storage.uri | trimSuffix "/" }}/{{ .Release.Namespace }}
{{- end }}
{{- end }}
