{{- /* Of root's, and readable by the pod's group: so a sentinel that is not root takes them. One that is root wants them for itself. */ -}}
{{- define "tb.secretMode" -}}
{{ if eq .Values.model.delivery "memory" }}0440{{ else }}0400{{ end }}
{{- end }}

{{- define "tb.volumes" -}}
- name: model
  emptyDir:
    {{- if eq .Values.model.delivery "memory" }}
    medium: Memory
    sizeLimit: {{ printf "%dMi" (int64 .Values.model.sizeMiB) }}
    {{- else }}
    sizeLimit: 16Mi
    {{- end }}
- name: scratch
  emptyDir:
    medium: Memory
    sizeLimit: {{ printf "%dMi" (int64 .Values.runtime.scratchMiB) }}
{{- if gt (int64 .Values.runtime.sharedMemoryMiB) 0 }}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ printf "%dMi" (int64 .Values.runtime.sharedMemoryMiB) }}
{{- end }}
{{- if not .Values.state.persistent }}
- name: state
  emptyDir:
    sizeLimit: {{ printf "%dMi" (int64 .Values.state.sizeMiB) }}
{{- end }}
{{- if eq .Values.cache.kind "node" }}
- name: cache
  emptyDir:
    sizeLimit: {{ printf "%dMi" (int64 .Values.cache.sizeMiB) }}
{{- end }}
- name: activation
  secret:
    secretName: {{ required "contract.activationTokenSecret is required" .Values.contract.activationTokenSecret | quote }}
    defaultMode: {{ include "tb.secretMode" . }}
    items:
      - {key: {{ .Values.contract.activationTokenKey | quote }}, path: token}
- name: identity
  downwardAPI:
    items:
      - path: pod
        fieldRef:
          {{- /* With its state a pod keeps its name's identity; without it each is a new one. */}}
          fieldPath: {{ if .Values.state.persistent }}metadata.name{{ else }}metadata.uid{{ end }}
{{- if .Values.controlPlane.caConfigMap }}
- name: ca
  configMap:
    name: {{ .Values.controlPlane.caConfigMap | quote }}
    items:
      - {key: ca.crt, path: ca.crt}
{{- end }}
{{- if .Values.controlPlane.clientCertificateSecret }}
- name: client-certificate
  secret:
    secretName: {{ .Values.controlPlane.clientCertificateSecret | quote }}
    defaultMode: {{ include "tb.secretMode" . }}
{{- end }}
{{- if .Values.providerKeyConfigMap }}
- name: provider-key
  configMap:
    name: {{ .Values.providerKeyConfigMap | quote }}
    items:
      - {key: provider.pub, path: provider.pub}
{{- end }}
{{- if .Values.access.apiKeysSecret }}
- name: api-keys
  secret:
    secretName: {{ .Values.access.apiKeysSecret | quote }}
    defaultMode: {{ include "tb.secretMode" . }}
    items:
      - {key: api-keys, path: api-keys}
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName | quote }}
    defaultMode: {{ include "tb.secretMode" . }}
{{- end }}
{{- if .Values.tls.clientCaConfigMap }}
- name: client-ca
  configMap:
    name: {{ .Values.tls.clientCaConfigMap | quote }}
    items:
      - {key: ca.crt, path: ca.crt}
{{- end }}
{{- end }}

{{- define "tb.claim" -}}
metadata:
  name: {{ .name }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .values.storageClassName }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ printf "%dMi" (int64 .values.sizeMiB) }}
{{- end }}
