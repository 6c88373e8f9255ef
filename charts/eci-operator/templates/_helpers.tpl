{{- define "eci-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "eci-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "eci-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "eci-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "eci-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "eci-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "eci-operator.labels" -}}
{{ include "eci-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: eci-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "eci-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "eci-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: set serviceAccount.name to the ServiceAccount to use" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "eci-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The region, or nothing when extraEnv gives it; without either the operator could not start. */}}
{{- define "eci-operator.region" -}}
{{- $env := list }}
{{- range .Values.extraEnv }}
{{- $env = append $env .name }}
{{- end }}
{{- if not (has "ECI_REGION" $env) }}
{{- required "region is not set: add --set region=cn-hangzhou (or the region that your virtual nodes are in)" .Values.region }}
{{- else }}
{{- .Values.region }}
{{- end }}
{{- end }}

{{/* What the operator does to objects of users: in every namespace, or in those of the value namespaces. */}}
{{- define "eci-operator.userRules" -}}
{{- $kinds := list }}
{{- if include "eci-operator.runs" (list . "imagecache") }}{{ $kinds = append $kinds "imagecaches" }}{{ end }}
{{- if include "eci-operator.runs" (list . "datacache") }}{{ $kinds = append $kinds "datacaches" }}{{ end }}
{{- if $kinds }}
- apiGroups: [eci-operator.io]
  resources: [{{ join ", " $kinds }}]
  verbs: [get, list, watch{{ if not .Values.dryRun }}, patch{{ end }}]
{{- if not .Values.dryRun }}
- apiGroups: [eci-operator.io]
  resources: [{{ join "/status, " $kinds }}/status]
  verbs: [patch]
{{- end }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Whether a namespace is labelled eci-operator.io/privileged=true.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# Who would start pods from a cache: asked when one is deleted.
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- if has "imagecaches" $kinds }}
# What the vendor says of pods that start from image caches.
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{- end }}
{{- end }}
{{- $others := list }}
{{- range list "imagecaches" "datacaches" }}{{ if not (has . $kinds) }}{{ $others = append $others . }}{{ end }}{{ end }}
{{- if and (include "eci-operator.looksAtPods" .) $others }}
# Pods may start from them.
- apiGroups: [eci-operator.io]
  resources: [{{ join ", " $others }}]
  verbs: [list, watch]
{{- end }}
{{- if not .Values.dryRun }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- if include "eci-operator.looksAtPods" . }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end }}
{{- if and (include "eci-operator.runs" (list . "placement")) (not .Values.dryRun) }}
# Tolerations, annotations and the operator's own scheduling gates.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
{{- if include "eci-operator.runs" (list . "eviction") }}
# Notices, and who stands in the way of an eviction.
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch]
{{- if not .Values.dryRun }}
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Whether an eviction counts as a failure of a Job.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get]
# The condition that says where an eviction stands.
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
{{- if .Values.eviction.deletePods }}
# For onDeadline: Delete and failedPodTTL of EciProfiles.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty when the admission webhook is served: a dry run changes no pods. */}}
{{- define "eci-operator.webhook" -}}
{{- if and (include "eci-operator.runs" (list . "webhook")) (not .Values.dryRun) }}true{{ end }}
{{- end }}

{{/* The Service by which the API server calls the webhook. */}}
{{- define "eci-operator.webhookService" -}}
{{- printf "%s-webhook" (include "eci-operator.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}

{{/* Not empty when a part runs: list of the root and the name of the part. */}}
{{- define "eci-operator.runs" -}}
{{- $root := index . 0 }}
{{- if or (not $root.Values.controllers) (has (index . 1) $root.Values.controllers) }}true{{ end }}
{{- end }}

{{/* Not empty when a part runs that looks at pods and at the profiles that select them. */}}
{{- define "eci-operator.looksAtPods" -}}
{{- $root := . }}
{{- $runs := list }}
{{- range list "eviction" "placement" "webhook" }}{{ $runs = append $runs (include "eci-operator.runs" (list $root .)) }}{{ end }}
{{- join "" $runs | trunc 4 }}
{{- end }}
