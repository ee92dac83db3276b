{{- define "clawdbot.session-store.ports" -}}
- {name: grpc, containerPort: 18791}
{{- end }}

{{- define "clawdbot.session-store.environment" -}}
- {name: CLAWDBOT_SESSION_STORE_LISTEN, value: "0.0.0.0:18791"}
{{ include "clawdbot.trustEnvironment" . }}
{{ include "clawdbot.databaseEnvironment" . }}
{{- end }}

{{- define "clawdbot.session-store.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  {{- include "clawdbot.grpcProbe" (dict "root" .root "port" 18791 "service" "clawdbot.session.v1.SessionStore") | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "clawdbot.session-store.mounts" -}}
{{ include "clawdbot.trustMounts" . }}
{{- end }}

{{- define "clawdbot.session-store.volumes" -}}
{{ include "clawdbot.trustVolumes" . }}
{{- end }}
