{{/* The port that a URL names, or its scheme's. */}}
{{- define "clawdbot.portOfUrl" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end }}

{{/* A component's pods as a peer. Takes {root, component}. */}}
{{- define "clawdbot.peer" -}}
- podSelector:
    matchLabels:
      {{- include "clawdbot.selectorLabels" . | nindent 6 }}
{{- end }}

{{- define "clawdbot.gateway-http.ingress" -}}
- ports: [{port: http}]
  {{- with .root.Values.networkPolicy.clients }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "clawdbot.gateway-http.egress" -}}
{{ include "clawdbot.toRunner" . }}
{{ include "clawdbot.toStore" . }}
{{- end }}

{{- define "clawdbot.toRunner" -}}
- ports: [{port: 18790}]
  to:
    {{- include "clawdbot.peer" (dict "root" .root "component" "agent-runner") | nindent 4 }}
{{- end }}

{{- define "clawdbot.toStore" -}}
- ports: [{port: 18791}]
  to:
    {{- include "clawdbot.peer" (dict "root" .root "component" "session-store") | nindent 4 }}
{{- end }}

{{/* Runners reach each other: a request that can be resumed is led on to the one that has it. */}}
{{- define "clawdbot.agent-runner.ingress" -}}
- ports: [{port: grpc}]
  from:
    {{- include "clawdbot.peer" (dict "root" .root "component" "gateway-http") | nindent 4 }}
    {{- include "clawdbot.peer" (dict "root" .root "component" "agent-runner") | nindent 4 }}
{{- end }}

{{- define "clawdbot.agent-runner.egress" -}}
{{ include "clawdbot.toRunner" . }}
{{ include "clawdbot.toStore" . }}
{{ include "clawdbot.toModels" . }}
{{- end }}

{{- define "clawdbot.toModels" -}}
{{- with .root.Values.networkPolicy.internet }}
{{- if .enabled -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}}
    {{- end }}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- toYaml .except | nindent 10 }}
    - ipBlock:
        cidr: ::/0
        except:
          {{- toYaml .exceptIPv6 | nindent 10 }}
{{- end }}
{{- end }}
{{- with .root.Values.networkPolicy.extraRunnerEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "clawdbot.session-store.ingress" -}}
- ports: [{port: grpc}]
  from:
    {{- include "clawdbot.peer" (dict "root" .root "component" "gateway-http") | nindent 4 }}
    {{- include "clawdbot.peer" (dict "root" .root "component" "agent-runner") | nindent 4 }}
{{- end }}

{{- define "clawdbot.session-store.egress" -}}
{{- with .root.Values.networkPolicy.database -}}
- ports: [{port: {{ .port }}}]
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "clawdbot.clawdbot.ingress" -}}
{{ include "clawdbot.gateway-http.ingress" . }}
{{- end }}

{{- define "clawdbot.clawdbot.egress" -}}
{{- if .root.Values.secrets.database.name }}
{{ include "clawdbot.session-store.egress" . }}
{{- end }}
{{ include "clawdbot.toModels" . }}
{{- end }}
