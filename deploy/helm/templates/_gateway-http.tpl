{{- define "clawdbot.gateway-http.ports" -}}
- {name: http, containerPort: 18789}
{{- end }}

{{- define "clawdbot.gateway-http.environment" -}}
{{ include "clawdbot.frontEnvironment" . }}
- {name: CLAWDBOT_AGENT_RUNNER_URL, value: "{{ include "clawdbot.scheme" .root }}://{{ include "clawdbot.name" .root }}-agent-runner:18790"}
- {name: CLAWDBOT_SESSION_STORE_URL, value: "{{ include "clawdbot.scheme" .root }}://{{ include "clawdbot.name" .root }}-session-store:18791"}
{{ include "clawdbot.trustEnvironment" . }}
{{- end }}

{{/* It is started once it lives: that it has no runner yet is no reason to start it again. */}}
{{- define "clawdbot.gateway-http.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  failureThreshold: 30
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "clawdbot.gateway-http.mounts" -}}
{{ include "clawdbot.trustMounts" . }}
{{- end }}

{{- define "clawdbot.gateway-http.volumes" -}}
{{ include "clawdbot.trustVolumes" . }}
{{- end }}
