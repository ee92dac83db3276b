{{/* What every object's name begins with; leaves room for the longest that follows. */}}
{{- define "clawdbot.name" -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- end }}

{{/* The components of this mode: the binary, which is also the component's name, and where its values are. */}}
{{- define "clawdbot.components" -}}
{{- if eq .Values.mode "services" -}}
[
  {"component": "gateway-http", "values": "gateway"},
  {"component": "agent-runner", "values": "agentRunner"},
  {"component": "session-store", "values": "sessionStore"}
]
{{- else -}}
[{"component": "clawdbot", "values": "oneProcess"}]
{{- end -}}
{{- end }}

{{/* The component that clients talk to. */}}
{{- define "clawdbot.front" -}}
{{- eq .Values.mode "services" | ternary "gateway-http" "clawdbot" -}}
{{- end }}

{{/* The labels of everything in this release. Takes the root. */}}
{{- define "clawdbot.instanceLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels that select a component's pods. Takes {root, component}. */}}
{{- define "clawdbot.selectorLabels" -}}
{{ include "clawdbot.instanceLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The labels of an object. Takes {root, component}. */}}
{{- define "clawdbot.labels" -}}
{{ include "clawdbot.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}
