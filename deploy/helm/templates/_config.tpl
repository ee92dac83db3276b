{{/* The sections of the configuration that a component reads, so that it gets no reference to what is not in its
environment, and is not rolled by what does not concern it. Takes {root, component}. */}}
{{- define "clawdbot.config" -}}
{{- $config := deepCopy .root.Values.config -}}
{{- $services := $config.services | default dict -}}
{{- if and (has .component (list "gateway-http" "clawdbot")) (or .root.Values.ingress.enabled .root.Values.httpRoute.enabled) -}}
{{- /* A proxy has to give up connections that it does not use before the gateway does. */ -}}
{{- $config = mergeOverwrite (dict "gateway" (dict "http" (dict "headTimeoutMs" 75000))) $config -}}
{{- end -}}
{{- if eq .component "gateway-http" -}}
{{- $config = pick $config "gateway" "services" "admin" "log" -}}
{{- if $services -}}
{{- $config = set $config "services" (pick $services "sessionStore") -}}
{{- end -}}
{{- $config | toPrettyJson -}}
{{- else if eq .component "session-store" -}}
{{- $config = pick $config "services" "session" "admin" "log" -}}
{{- if $services -}}
{{- $config = set $config "services" (pick $services "sessionStore") -}}
{{- end -}}
{{- $config | toPrettyJson -}}
{{- else if eq .component "agent-runner" -}}
{{- /* Of the gateway's, only what is said of pictures. */ -}}
{{- $chat := dig "gateway" "http" "endpoints" "chatCompletions" dict $config -}}
{{- $config = omit $config "gateway" -}}
{{- if $chat -}}
{{- $config = set $config "gateway" (dict "http" (dict "endpoints" (dict "chatCompletions" $chat))) -}}
{{- end -}}
{{- $config | toPrettyJson -}}
{{- else -}}
{{- $config | toPrettyJson -}}
{{- end -}}
{{- end }}

{{/* How long the gateway and the runner give to what is in flight, in seconds; the defaults are theirs. Take the root. */}}
{{- define "clawdbot.gatewayDrainSeconds" -}}
{{- div (add (dig "gateway" "drainMs" 30000 .Values.config | int64) 999) 1000 -}}
{{- end }}
{{- define "clawdbot.runnerDrainSeconds" -}}
{{- div (add (dig "services" "agentRunner" "drainMs" 30000 .Values.config | int64) 999) 1000 -}}
{{- end }}

{{/* The time from the order to end until a pod is killed: the pause before it is told, its drain time, and ten seconds for
last words, tools that are ended, and the rest of the traces. Takes {root, component, values}. */}}
{{- define "clawdbot.graceSeconds" -}}
{{- $drain := 30 -}}
{{- if eq .component "gateway-http" -}}
{{- $drain = include "clawdbot.gatewayDrainSeconds" .root | int64 -}}
{{- else if eq .component "agent-runner" -}}
{{- $drain = include "clawdbot.runnerDrainSeconds" .root | int64 -}}
{{- else if eq .component "clawdbot" -}}
{{- /* One after the other. */ -}}
{{- $drain = add (include "clawdbot.gatewayDrainSeconds" .root | int64) (include "clawdbot.runnerDrainSeconds" .root | int64) -}}
{{- end -}}
{{- add (index .root.Values .values).preStopSeconds $drain 10 -}}
{{- end }}

{{/* Refuses values that make no gateway, with what to do. Takes the root. */}}
{{- define "clawdbot.check" -}}
{{- $auth := dig "gateway" "auth" dict .Values.config -}}
{{- if not (or .Values.secrets.gatewayToken.name (eq (get $auth "mode" | toString) "none") $auth.tokens $auth.password $auth.token) -}}
{{- fail "secrets.gatewayToken.name: name the Secret that holds the gateway's token (kubectl create secret generic clawdbot --from-literal=token=\"$(openssl rand -hex 32)\"), or set config.gateway.auth.mode to \"none\" if everybody who reaches the gateway may use the agents" -}}
{{- end -}}
{{- if and (eq .Values.mode "services") (not .Values.secrets.database.name) -}}
{{- fail "secrets.database.name: name the Secret that holds PostgreSQL's URL, or set mode to oneProcess to keep sessions in a file" -}}
{{- end -}}
{{- $isKnown := or .Values.secrets.services.name .Values.services.tls.secretName .Values.services.allowInsecure -}}
{{- if and (eq .Values.mode "services") (not $isKnown) -}}
{{- fail "secrets.services.name: name the Secret with what the services show each other (kubectl create secret generic clawdbot-services --from-literal=token=\"$(openssl rand -hex 32)\"), or give them certificates by services.tls.secretName" -}}
{{- end -}}
{{- range $values := list .Values.gateway .Values.agentRunner -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: must not be more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (eq (get $auth "mode" | toString) "none") (not (dig "gateway" "http" "cors" "origins" list .Values.config)) -}}
{{- fail "config.gateway.http.cors.origins: without a secret the gateway is asked only by names that nobody can register; list its origin, such as https://agents.example.com" -}}
{{- end -}}
{{- if and .Values.services.tls.secretName (not .Values.services.tls.serverName) -}}
{{- fail "services.tls.serverName: say which name the certificates are for; pods are called by their addresses, which no certificate names" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name a host" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name the Gateway that the route belongs to" -}}
{{- end -}}
{{- end }}
