{{- /* What each kind of runtime is started with. {model_path} is replaced in the pod, by the path that the sentinel tells. */ -}}
{{- define "tb.runtime.command" -}}
{{- $port := int64 .Values.runtime.port -}}
{{- if eq .Values.runtime.kind "vllm" -}}
- vllm
- serve
- "{model_path}"
- --host=127.0.0.1
- --port={{ $port }}
- {{ printf "--served-model-name=%s" (include "tb.servedName" .) | quote }}
{{- else if eq .Values.runtime.kind "llama-server" -}}
- /app/llama-server
- --model
- "{model_path}"
- --host
- 127.0.0.1
- --port
- {{ $port | quote }}
- --alias
- {{ include "tb.servedName" . | quote }}
- --no-slots
- --offline
{{- else if eq .Values.runtime.kind "triton" -}}
- tritonserver
- "--model-repository={model_path}"
- --http-address=127.0.0.1
- --http-port={{ $port }}
- --allow-grpc=false
- --allow-metrics=false
{{- else -}}
{{ toYaml (required "runtime.command is required for a custom runtime" .Values.runtime.command) }}
{{- end }}
{{- with .Values.runtime.args }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tb.runtime.healthPath" -}}
{{- if .Values.runtime.healthPath -}}
{{ .Values.runtime.healthPath | quote }}
{{- else if eq .Values.runtime.kind "triton" -}}
"/v2/health/ready"
{{- else -}}
"/health"
{{- end }}
{{- end }}

{{- /* Everything writable is in memory: a runtime that unpacks or caches weights must not put them on a disk. */ -}}
{{- define "tb.runtime.container" -}}
name: runtime
image: {{ include "tb.image" .Values.runtime.image }}
imagePullPolicy: {{ .Values.runtime.image.pullPolicy }}
# Waits until the sentinel says that the model can be read, puts its path into the arguments, and becomes the runtime.
command: [/bin/sh, -eu, -c]
args:
  - |
    signal=$1; shift; trap 'exit 143' TERM INT
    until [ -r "$signal" ]; do sleep 1 & wait $!; done
    path=$(sed -n 's/.*"path":"\([^"\\]*\)".*/\1/p' "$signal")
    [ -n "$path" ] || { echo "the ready signal names no path" >&2; exit 1; }
    for argument in "$@"; do
      shift
      case $argument in
        *'{model_path}'*) argument=${argument%%'{model_path}'*}$path${argument#*'{model_path}'} ;;
      esac
      set -- "$@" "$argument"
    done
    trap - TERM INT
    exec "$@"
  - wait-for-model
  - /models/ready/ready.signal
{{ include "tb.runtime.command" . | indent 2 }}
env:
  - {name: HOME, value: /tmp}
  - {name: USER, value: runtime}
  - {name: TMPDIR, value: /tmp}
  - {name: XDG_CACHE_HOME, value: /tmp/cache}
  {{- if eq .Values.runtime.kind "vllm" }}
  - {name: HF_HOME, value: /tmp/huggingface}
  - {name: HF_HUB_OFFLINE, value: "1"}
  - {name: VLLM_CACHE_ROOT, value: /tmp/vllm}
  - {name: VLLM_CONFIG_ROOT, value: /tmp/vllm-config}
  - {name: VLLM_NO_USAGE_STATS, value: "1"}
  - {name: DO_NOT_TRACK, value: "1"}
  {{- end }}
  {{- range $name, $value := .Values.runtime.env }}
  - name: {{ $name | quote }}
    value: {{ $value | quote }}
  {{- end }}
resources:
{{ toYaml .Values.runtime.resources | indent 2 }}
securityContext:
{{ include "tb.restricted" . | indent 2 }}
# Both ask the sentinel, as the runtime listens on loopback only. The model is not there: the runtime has not begun, and
# one that runs is ended, so that a suspended contract leaves no weights in its memory.
startupProbe:
  httpGet: {path: /startupz, port: 8001}
  periodSeconds: 5
  failureThreshold: 17280
livenessProbe:
  httpGet: {path: /startupz, port: 8001}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
  terminationGracePeriodSeconds: 5
lifecycle:
  # Answers under way end before the runtime is told to stop; the sentinel, as a sidecar, is told after it has ended.
  preStop:
    sleep:
      seconds: {{ int64 .Values.drainSeconds }}
volumeMounts:
  - name: model
    mountPath: /models
    readOnly: true
    {{- if eq .Values.model.delivery "privileged-mount" }}
    mountPropagation: HostToContainer
    {{- end }}
  - name: scratch
    mountPath: /tmp
  {{- if gt (int64 .Values.runtime.sharedMemoryMiB) 0 }}
  - name: shared-memory
    mountPath: /dev/shm
  {{- end }}
{{- end }}
