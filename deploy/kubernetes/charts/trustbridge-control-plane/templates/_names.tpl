{{- define "tb.name" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- define "tb.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "tb.labels" -}}
{{ include "tb.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "tb.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "tb.name" .) }}
{{- end }}

{{- define "tb.image" -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest | quote }}
{{- else -}}
{{ printf "%s:%s" .repository .tag | quote }}
{{- end }}
{{- end }}
