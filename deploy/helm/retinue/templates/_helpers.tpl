{{- define "retinue.labels" -}}
app.kubernetes.io/name: retinue
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* Every process: name, kind, networks and values of its own. */}}
{{- define "retinue.processes" -}}
{{- $out := list -}}
{{- $v := .Values -}}
{{- $out = append $out (dict "name" "api" "kind" "api" "networks" (list "inside" "outside" "accounts") "values" $v.api) -}}
{{- $out = append $out (dict "name" "workflows" "kind" "workers" "networks" (list "inside") "values" $v.workflows) -}}
{{- if $v.accounts.enabled -}}
{{- $out = append $out (dict "name" "accounts" "kind" "accounts" "networks" (list "accounts" "outside") "values" $v.accounts) -}}
{{- end -}}
{{- if $v.offline.enabled -}}
{{- $out = append $out (dict "name" "offline" "kind" "offline" "networks" (list "inside") "values" (merge (dict "replicas" 1 "env" dict "secretEnv" dict) $v.offline)) -}}
{{- end -}}
{{- range $name, $own := $v.capabilities -}}
{{- $all := mergeOverwrite (deepCopy $v.capability) $own -}}
{{- if $all.enabled -}}
{{- $out = append $out (dict "name" $name "kind" "workers" "networks" $all.networks "values" $all "capability" true) -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{- define "retinue.most" -}}
{{- $v := .values -}}
{{- $scaled := default dict (default $v.scaling $v.autoscaling) -}}
{{- if $scaled.enabled -}}{{ $scaled.max }}{{- else -}}{{ $v.replicas }}{{- end -}}
{{- end -}}
