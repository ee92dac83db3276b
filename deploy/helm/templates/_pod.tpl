{{/* A component's pod. What only it has comes from templates named after it: ports, environment, probes and folders.
Takes {root, component, values}. */}}
{{- define "clawdbot.pod" -}}
{{- $values := index .root.Values .values -}}
{{- $selectorLabels := include "clawdbot.selectorLabels" . -}}
metadata:
  labels:
    {{- $selectorLabels | nindent 4 }}
    app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  annotations:
    # New settings roll the pods, those of this component only.
    checksum/config: {{ include "clawdbot.config" . | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "clawdbot.name" .root }}
  automountServiceAccountToken: false
  # A service called clawdbot-gateway would give every pod a CLAWDBOT_GATEWAY_PORT, which is a setting of ours.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "clawdbot.graceSeconds" . }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if ne .component "clawdbot" }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- $selectorLabels | nindent 10 }}
      # Only pods of one revision count, so that a roll-out ends as evenly as it began.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ printf "%s/%s:%s" .root.Values.image.repository .component (.root.Values.image.tag | default .root.Chart.AppVersion) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      ports:
        {{- include (printf "clawdbot.%s.ports" .component) . | nindent 8 }}
        - {name: admin, containerPort: 9090}
      env:
        {{- include "clawdbot.environment" . | nindent 8 }}
        {{- include (printf "clawdbot.%s.environment" .component) . | nindent 8 }}
        {{- $own := printf "%s\n%s" (include "clawdbot.environment" .) (include (printf "clawdbot.%s.environment" .component) .) }}
        {{- range $extra := $values.extraEnv }}
        {{- if regexMatch (printf "name: %s[,}\n]" $extra.name) (printf "%s\n" $own) }}
        {{- fail (printf "%s.extraEnv: %s is the chart's own" $.values $extra.name) }}
        {{- end }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $hasModels := and (has .component (list "agent-runner" "clawdbot")) .root.Values.secrets.providerKeys.name }}
      {{- if or $hasModels $values.extraEnvFrom }}
      envFrom:
        {{- if $hasModels }}
        - secretRef: {name: {{ .root.Values.secrets.providerKeys.name }}}
        {{- end }}
        {{- with $values.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with $values.preStopSeconds }}
      # Between the pod's leaving the services' addresses and its being told to end. The kubelet sleeps: the images have no
      # program that could.
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      {{- include (printf "clawdbot.%s.probes" .component) . | nindent 6 }}
      # The process lives as long as its admin port answers; whether it can work is the readiness probe's question.
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/clawdbot, readOnly: true}
        {{- include (printf "clawdbot.%s.mounts" .component) . | nindent 8 }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "clawdbot.name" .root }}-{{ .component }}}
    {{- include (printf "clawdbot.%s.volumes" .component) . | nindent 4 }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The environment of every pod. */}}
{{- define "clawdbot.environment" -}}
- {name: CLAWDBOT_CONFIG_PATH, value: /etc/clawdbot/clawdbot.json}
- {name: CLAWDBOT_ADMIN_LISTEN, value: "0.0.0.0:9090"}
- {name: CLAWDBOT_LOG_FORMAT, value: json}
- {name: RUST_LOG, value: {{ .root.Values.logFilter | quote }}}
{{- if .root.Values.telemetry.endpoint }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .root.Values.telemetry.endpoint | quote }}}
{{- $more := .root.Values.telemetry.environment.OTEL_RESOURCE_ATTRIBUTES }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)%s" ($more | empty | ternary "" (printf ",%s" $more)) | quote }}
{{- range $name, $value := omit .root.Values.telemetry.environment "OTEL_RESOURCE_ATTRIBUTES" }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* What clients need to reach the process, and whether they may. */}}
{{- define "clawdbot.frontEnvironment" -}}
- {name: CLAWDBOT_GATEWAY_BIND, value: lan}
- {name: CLAWDBOT_GATEWAY_PORT, value: "18789"}
{{- with .root.Values.secrets.gatewayToken }}
{{- if .name }}
- name: CLAWDBOT_GATEWAY_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "clawdbot.databaseEnvironment" -}}
{{- with .root.Values.secrets.database -}}
- name: CLAWDBOT_SESSION_STORE_DATABASE
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}

{{/* Where agents run there is something to write: workspaces, the weights of the embedded model, and what is on its way. */}}
{{- define "clawdbot.agentMounts" -}}
- {name: home, mountPath: /home/nonroot}
- {name: models, mountPath: /var/cache/clawdbot}
- {name: tmp, mountPath: /tmp}
{{- end }}
{{- define "clawdbot.agentVolumes" -}}
- name: home
  {{- toYaml ((index .root.Values .values).home | default (dict "emptyDir" (dict "sizeLimit" "1Gi"))) | nindent 2 }}
- name: models
  emptyDir: {sizeLimit: 1Gi}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}
