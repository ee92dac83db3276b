{{/* How the services speak with each other. Takes the root. */}}
{{- define "clawdbot.scheme" -}}
{{- .Values.services.tls.secretName | empty | ternary "http" "https" -}}
{{- end }}

{{/* What a service shows to others, and asks of them. */}}
{{- define "clawdbot.trustEnvironment" -}}
{{- with .root.Values.secrets.services }}
{{- if .name }}
- name: CLAWDBOT_SERVICES_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- if .root.Values.services.tls.secretName }}
- {name: CLAWDBOT_SERVICES_TLS_CERT, value: /etc/clawdbot-tls/tls.crt}
- {name: CLAWDBOT_SERVICES_TLS_KEY, value: /etc/clawdbot-tls/tls.key}
- {name: CLAWDBOT_SERVICES_TLS_CA, value: /etc/clawdbot-tls/ca.crt}
- {name: CLAWDBOT_SERVICES_TLS_SERVER_NAME, value: {{ .root.Values.services.tls.serverName | quote }}}
{{- end }}
{{- if and .root.Values.services.allowInsecure (ne .component "gateway-http") }}
- {name: CLAWDBOT_SERVICES_ALLOW_INSECURE, value: "true"}
{{- end }}
{{- end }}

{{- define "clawdbot.trustMounts" -}}
{{- if .root.Values.services.tls.secretName }}
- {name: services-tls, mountPath: /etc/clawdbot-tls, readOnly: true}
{{- end }}
{{- end }}
{{- define "clawdbot.trustVolumes" -}}
{{- with .root.Values.services.tls.secretName }}
- name: services-tls
  # Readable by the group that the pod runs as.
  secret: {secretName: {{ . }}, defaultMode: 288}
{{- end }}
{{- end }}

{{/* Asks a service whether it is ready: by gRPC, or where that needs a certificate, which the kubelet has not, at its admin
port. Takes {root, port, service}. */}}
{{- define "clawdbot.grpcProbe" -}}
{{- if .root.Values.services.tls.secretName -}}
httpGet: {path: /readyz, port: admin}
{{- else -}}
grpc: {port: {{ .port }}, service: {{ .service }}}
{{- end -}}
{{- end }}
