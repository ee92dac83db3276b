{{- define "clawdbot.agent-runner.ports" -}}
- {name: grpc, containerPort: 18790}
{{- end }}

{{/* Runners lead a request that came to the wrong one on to the right one, at the address that each gives the store. */}}
{{- define "clawdbot.agent-runner.environment" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: CLAWDBOT_AGENT_RUNNER_LISTEN, value: "0.0.0.0:18790"}
- {name: CLAWDBOT_AGENT_RUNNER_ADVERTISE_URL, value: "{{ include "clawdbot.scheme" .root }}://$(POD_IP):18790"}
- {name: CLAWDBOT_SESSION_STORE_URL, value: "{{ include "clawdbot.scheme" .root }}://{{ include "clawdbot.name" .root }}-session-store:18791"}
{{ include "clawdbot.trustEnvironment" . }}
{{- end }}

{{/* Five minutes to start, for the weights of the embedded model. */}}
{{- define "clawdbot.agent-runner.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  failureThreshold: 150
readinessProbe:
  {{- include "clawdbot.grpcProbe" (dict "root" .root "port" 18790 "service" "clawdbot.agent.v1.AgentRunner") | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "clawdbot.agent-runner.mounts" -}}
{{ include "clawdbot.trustMounts" . }}
{{ include "clawdbot.agentMounts" . }}
{{- end }}

{{- define "clawdbot.agent-runner.volumes" -}}
{{ include "clawdbot.trustVolumes" . }}
{{ include "clawdbot.agentVolumes" . }}
{{- end }}
