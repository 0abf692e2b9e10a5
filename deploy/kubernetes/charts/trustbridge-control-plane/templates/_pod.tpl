{{- define "tb.env" -}}
- {name: TB_CP_ADDR, value: "0.0.0.0:8443"}
- {name: TB_CP_DATA_DIR, value: /var/lib/trustbridge/control-plane}
- name: TB_CP_PUBLIC_URL
  value: {{ required "publicUrl is required" .Values.publicUrl | quote }}
- {name: TB_CP_TLS_CERT_PATH, value: /etc/trustbridge/tls/tls.crt}
- {name: TB_CP_TLS_KEY_PATH, value: /etc/trustbridge/tls/tls.key}
{{- if .Values.tls.clientCaConfigMap }}
- {name: TB_CP_CLIENT_CA_PATH, value: /etc/trustbridge/client-ca/ca.crt}
{{- end }}
{{- if .Values.kek.transit.url }}
- name: TB_CP_KEK
  value: {{ .Values.kek.transit.url | quote }}
- {name: TB_CP_KEK_TOKEN_FILE, value: /etc/trustbridge/kek/token}
{{- if .Values.kek.transit.caConfigMap }}
- {name: TB_CP_KEK_CA_PATH, value: /etc/trustbridge/kek-ca/ca.crt}
{{- end }}
{{- else }}
- name: TB_CP_KEK
  value: {{ printf "file:/etc/trustbridge/kek/%s" .Values.kek.key | quote }}
{{- end }}
{{- if eq .Values.database.kind "postgresql" }}
- name: TB_CP_DATABASE
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.urlSecret | quote }}, key: url}
{{- else }}
- {name: TB_CP_DATABASE, value: "sqlite:"}
{{- end }}
{{- if eq .Values.blobs.kind "azure" }}
- name: TB_CP_STORE
  value: {{ printf "azure:%s" .Values.blobs.azurePlace | quote }}
- name: TB_CP_STORE_CREDENTIAL
  value: {{ if eq .Values.blobs.azureCredential "key-file" }}"key-file:/etc/trustbridge/store/key"{{ else }}{{ .Values.blobs.azureCredential | quote }}{{ end }}
{{- else }}
- {name: TB_CP_STORE, value: "filesystem:/var/lib/trustbridge/blobs"}
{{- end }}
- name: TB_CP_STOP_DELAY_SECONDS
  value: {{ int64 .Values.stopDelaySeconds | quote }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name | quote }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "tb.pod" -}}
serviceAccountName: {{ include "tb.serviceAccount" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.workloadIdentity }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add (int64 .Values.stopDelaySeconds) 30 }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ int64 .Values.userId }}
  runAsGroup: {{ int64 .Values.userId }}
  fsGroup: {{ int64 .Values.userId }}
  # At each start, "Always" would open private files to the group, and they would be refused.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: control-plane
    image: {{ include "tb.image" .Values.image }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    env:
{{ include "tb.env" . | indent 6 }}
    ports:
      - {name: https, containerPort: 8443, protocol: TCP}
    resources:
{{ toYaml .Values.resources | indent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop: [ALL]
      privileged: false
      readOnlyRootFilesystem: true
      runAsNonRoot: true
      seccompProfile:
        type: RuntimeDefault
    startupProbe:
      # The first start of a new version may rewrite the event log.
      httpGet: {path: /healthz, port: https, scheme: HTTPS}
      periodSeconds: 5
      failureThreshold: 360
    livenessProbe:
      httpGet: {path: /healthz, port: https, scheme: HTTPS}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet: {path: /readyz, port: https, scheme: HTTPS}
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 2
    volumeMounts:
      - {name: data, mountPath: /var/lib/trustbridge}
      - {name: tls, mountPath: /etc/trustbridge/tls, readOnly: true}
      - {name: kek, mountPath: /etc/trustbridge/kek, readOnly: true}
      {{- if .Values.kek.transit.caConfigMap }}
      - {name: kek-ca, mountPath: /etc/trustbridge/kek-ca, readOnly: true}
      {{- end }}
      {{- if .Values.tls.clientCaConfigMap }}
      - {name: client-ca, mountPath: /etc/trustbridge/client-ca, readOnly: true}
      {{- end }}
      {{- if .Values.database.caConfigMap }}
      - {name: database-ca, mountPath: /etc/trustbridge/database-ca, readOnly: true}
      {{- end }}
      {{- if eq .Values.blobs.azureCredential "key-file" }}
      - {name: store, mountPath: /etc/trustbridge/store, readOnly: true}
      {{- end }}
volumes:
  - name: tls
    secret:
      secretName: {{ required "tls.secretName is required" .Values.tls.secretName | quote }}
      defaultMode: 0440
  - name: kek
    secret:
      {{- if .Values.kek.transit.url }}
      secretName: {{ required "kek.transit.tokenSecret is required" .Values.kek.transit.tokenSecret | quote }}
      items:
        - {key: token, path: token}
      {{- else }}
      {{- /* All of its keys: while the KEK is changed there are two. */}}
      secretName: {{ required "kek.secretName is required" .Values.kek.secretName | quote }}
      {{- end }}
      defaultMode: 0440
  {{- if .Values.kek.transit.caConfigMap }}
  - name: kek-ca
    configMap:
      name: {{ .Values.kek.transit.caConfigMap | quote }}
      items:
        - {key: ca.crt, path: ca.crt}
  {{- end }}
  {{- if .Values.tls.clientCaConfigMap }}
  - name: client-ca
    configMap:
      name: {{ .Values.tls.clientCaConfigMap | quote }}
      items:
        - {key: ca.crt, path: ca.crt}
  {{- end }}
  {{- if .Values.database.caConfigMap }}
  - name: database-ca
    configMap:
      name: {{ .Values.database.caConfigMap | quote }}
      items:
        - {key: ca.crt, path: ca.crt}
  {{- end }}
  {{- if eq .Values.blobs.azureCredential "key-file" }}
  - name: store
    secret:
      secretName: {{ required "blobs.azureKeySecret is required" .Values.blobs.azureKeySecret | quote }}
      defaultMode: 0440
      items:
        - {key: key, path: key}
  {{- end }}
  {{- if eq .Values.database.kind "postgresql" }}
  - name: data
    {{- if .Values.volume.existingClaim }}
    persistentVolumeClaim:
      claimName: {{ .Values.volume.existingClaim | quote }}
    {{- else }}
    emptyDir:
      sizeLimit: 64Mi
    {{- end }}
  {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}
