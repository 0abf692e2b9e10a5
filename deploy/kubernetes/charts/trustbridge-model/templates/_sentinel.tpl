{{- define "tb.sentinel.env" -}}
- name: TB_CONTRACT_ID
  value: {{ required "contract.id is required" .Values.contract.id | quote }}
- name: TB_ASSET_ID
  value: {{ required "contract.assetId is required" .Values.contract.assetId | quote }}
- name: TB_EDC_ENDPOINT
  value: {{ required "controlPlane.url is required" .Values.controlPlane.url | quote }}
- name: TB_ACTIVATION_TOKEN_FILE
  value: /etc/trustbridge/activation/token
- name: TB_HW_ID_FILE
  value: /etc/trustbridge/identity/pod
- name: TB_DELIVERY
  value: {{ if eq .Values.model.delivery "memory" }}tmpfs{{ else }}mount{{ end }}
- name: TB_MODEL_DIR
  value: /models/model
- name: TB_READY_SIGNAL
  value: /models/ready/ready.signal
- name: TB_HYDRATE
  value: {{ .Values.model.hydrate | quote }}
- name: TB_CACHE
  value: {{ if eq .Values.cache.kind "none" }}memory{{ else }}disk{{ end }}
- name: TB_TARGET_DIR
  value: /var/cache/trustbridge/ciphertext
- name: TB_STATE_DIR
  value: /var/lib/trustbridge/sentinel
- name: TB_RUNTIME_URL
  value: {{ printf "http://127.0.0.1:%d" (int64 .Values.runtime.port) | quote }}
- name: TB_RUNTIME_HEALTH_PATH
  value: {{ include "tb.runtime.healthPath" . }}
- name: TB_STARTUP_TIMEOUT
  value: {{ int64 .Values.runtime.startupSeconds | quote }}
{{- if eq .Values.model.delivery "memory" }}
- name: TB_ALLOW_SHARED_UID
  value: "true"
{{- else }}
- name: TB_RUNTIME_UID
  value: {{ int64 .Values.userId | quote }}
{{- end }}
- name: TB_PUBLIC_ADDR
  value: 0.0.0.0:8000
- name: TB_HEALTH_ADDR
  value: 0.0.0.0:8001
- name: TB_SERVED_MODEL_NAME
  value: {{ include "tb.servedName" . | quote }}
- name: TB_DRAIN_SECONDS
  value: "10"
- name: TB_LOG_LEVEL
  value: {{ .Values.sentinel.logLevel | quote }}
{{- if .Values.controlPlane.caConfigMap }}
- name: TB_CA_PATH
  value: /etc/trustbridge/ca/ca.crt
{{- end }}
{{- if .Values.controlPlane.clientCertificateSecret }}
- name: TB_CLIENT_CERT_PATH
  value: /etc/trustbridge/client/tls.crt
- name: TB_CLIENT_KEY_PATH
  value: /etc/trustbridge/client/tls.key
{{- end }}
{{- if .Values.controlPlane.allowPrivateNetworks }}
- name: TB_ALLOW_PRIVATE_NETWORKS
  value: "true"
{{- end }}
{{- if .Values.providerKeyConfigMap }}
- name: TB_PROVIDER_KEY
  value: /etc/trustbridge/provider/provider.pub
{{- end }}
{{- if .Values.access.apiKeysSecret }}
- name: TB_API_KEYS_FILE
  value: /etc/trustbridge/api-keys/api-keys
{{- end }}
{{- if .Values.access.anonymous }}
- name: TB_ALLOW_ANONYMOUS
  value: "true"
{{- end }}
{{- if .Values.tls.secretName }}
- name: TB_TLS_CERT_PATH
  value: /etc/trustbridge/tls/tls.crt
- name: TB_TLS_KEY_PATH
  value: /etc/trustbridge/tls/tls.key
{{- end }}
{{- if .Values.tls.clientCaConfigMap }}
- name: TB_TLS_CLIENT_CA_PATH
  value: /etc/trustbridge/client-ca/ca.crt
{{- end }}
{{- range $name, $value := .Values.sentinel.settings }}
- name: {{ $name | quote }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "tb.sentinel.container" -}}
name: sentinel
image: {{ include "tb.image" .Values.sentinel.image }}
imagePullPolicy: {{ .Values.sentinel.image.pullPolicy }}
# A native sidecar: the runtime is started when its startup probe succeeds, which is when the model can be read.
restartPolicy: Always
env:
{{ include "tb.sentinel.env" . | indent 2 }}
ports:
  - {name: public, containerPort: 8000, protocol: TCP}
  - {name: health, containerPort: 8001, protocol: TCP}
{{- $own := int64 .Values.sentinel.memoryMiB }}
{{- $memory := printf "%dMi" $own }}
{{- if eq .Values.model.delivery "memory" }}
{{- /* What it writes into a volume in memory counts as its own memory. */}}
{{- $memory = printf "%dMi" (add $own (int64 .Values.model.sizeMiB)) }}
{{- end }}
resources:
  requests:
    cpu: {{ .Values.sentinel.cpu | quote }}
    memory: {{ $memory }}
  limits:
    memory: {{ $memory }}
securityContext:
{{- if eq .Values.model.delivery "memory" }}
{{ include "tb.restricted" . | indent 2 }}
{{- else }}
  # Mounts are seen by other containers only from a privileged one.
  privileged: true
  readOnlyRootFilesystem: true
  runAsNonRoot: false
  runAsUser: 0
{{- end }}
startupProbe:
  httpGet: {path: /startupz, port: health}
  periodSeconds: 5
  failureThreshold: {{ add 1 (div (int64 .Values.model.hydrateSeconds) 5) }}
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 1
volumeMounts:
  - name: model
    mountPath: /models
    {{- if eq .Values.model.delivery "privileged-mount" }}
    mountPropagation: Bidirectional
    {{- end }}
  - name: state
    mountPath: /var/lib/trustbridge
  {{- if ne .Values.cache.kind "none" }}
  - name: cache
    mountPath: /var/cache/trustbridge
  {{- end }}
  - {name: activation, mountPath: /etc/trustbridge/activation, readOnly: true}
  - {name: identity, mountPath: /etc/trustbridge/identity, readOnly: true}
  {{- if .Values.controlPlane.caConfigMap }}
  - {name: ca, mountPath: /etc/trustbridge/ca, readOnly: true}
  {{- end }}
  {{- if .Values.controlPlane.clientCertificateSecret }}
  - {name: client-certificate, mountPath: /etc/trustbridge/client, readOnly: true}
  {{- end }}
  {{- if .Values.providerKeyConfigMap }}
  - {name: provider-key, mountPath: /etc/trustbridge/provider, readOnly: true}
  {{- end }}
  {{- if .Values.access.apiKeysSecret }}
  - {name: api-keys, mountPath: /etc/trustbridge/api-keys, readOnly: true}
  {{- end }}
  {{- if .Values.tls.secretName }}
  - {name: tls, mountPath: /etc/trustbridge/tls, readOnly: true}
  {{- end }}
  {{- if .Values.tls.clientCaConfigMap }}
  - {name: client-ca, mountPath: /etc/trustbridge/client-ca, readOnly: true}
  {{- end }}
{{- end }}
