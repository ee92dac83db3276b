{{- define "clawdbot.clawdbot.ports" -}}
- {name: http, containerPort: 18789}
{{- end }}

{{- define "clawdbot.clawdbot.environment" -}}
{{ include "clawdbot.frontEnvironment" . }}
- {name: CLAWDBOT_STATE_DIR, value: /var/lib/clawdbot}
{{- if .root.Values.secrets.database.name }}
{{ include "clawdbot.databaseEnvironment" . }}
{{- end }}
{{- end }}

{{/* Five minutes to start, for the weights of the embedded model. */}}
{{- define "clawdbot.clawdbot.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  failureThreshold: 150
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* Whether sessions are in a file that outlives the pod. Takes the root. */}}
{{- define "clawdbot.isPersistent" -}}
{{- if and .Values.oneProcess.persistence.enabled (not .Values.secrets.database.name) }}true{{ end -}}
{{- end }}

{{- define "clawdbot.clawdbot.mounts" -}}
- {name: state, mountPath: /var/lib/clawdbot}
{{ include "clawdbot.agentMounts" . }}
{{- end }}

{{- define "clawdbot.clawdbot.volumes" -}}
- name: state
  {{- if include "clawdbot.isPersistent" .root }}
  persistentVolumeClaim:
    claimName: {{ .root.Values.oneProcess.persistence.existingClaim | default (printf "%s-state" (include "clawdbot.name" .root)) }}
  {{- else }}
  emptyDir: {sizeLimit: 1Gi}
  {{- end }}
{{ include "clawdbot.agentVolumes" . }}
{{- end }}
