{{/*
The chart has no manifests of its own: it reads those of k8s/ (a link beside this folder, which `helm package` copies), as kustomize would, and
changes in them what values say. So the chart and the overlays cannot differ.
*/}}

{{/* Merges the map `from` into the map `into` like a strategic merge patch: null removes, lists of named things merge by name. */}}
{{- define "winnow.merge" -}}
{{- $into := .into -}}
{{- $keys := dict "containers" "name" "initContainers" "name" "env" "name" "volumes" "name" "volumeMounts" "mountPath" "imagePullSecrets" "name" -}}
{{- range $field, $value := .from -}}
  {{- $old := get $into $field -}}
  {{- $key := get $keys $field -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $field -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
    {{- include "winnow.merge" (dict "into" $old "from" $value) -}}
  {{- else if and $key (kindIs "slice" $value) (kindIs "slice" $old) -}}
    {{- $known := dict -}}
    {{- range $old }}{{ $_ := set $known (get . $key) . }}{{ end -}}
    {{- $added := list -}}
    {{- range $value -}}
      {{- if hasKey $known (get . $key) -}}
        {{- include "winnow.merge" (dict "into" (get $known (get . $key)) "from" .) -}}
      {{- else -}}
        {{- $added = append $added . -}}
      {{- end -}}
    {{- end -}}
    {{- $_ := set $into $field (concat $added $old) -}}
  {{- else -}}
    {{- $_ := set $into $field $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Adds lines NAME=VALUE to the map `into`. */}}
{{- define "winnow.variables" -}}
{{- $into := .into -}}
{{- range .lines -}}
  {{- if and . (not (hasPrefix "#" .)) -}}
    {{- $parts := splitn "=" 2 . -}}
    {{- $_ := set $into $parts._0 $parts._1 -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Reads one folder of k8s/ into `state`: objects, settings, tag of the image. */}}
{{- define "winnow.folder" -}}
{{- $files := .root.Files -}}
{{- $state := .state -}}
{{- $path := .path -}}
{{- $labels := dict "app.kubernetes.io/name" "winnow" "app.kubernetes.io/component" "server" -}}
{{- $text := $files.Get (printf "%s/kustomization.yaml" $path) -}}
{{- if not $text }}{{ fail (printf "expected the folder %s in the chart, got none: copy k8s/ beside templates/" $path) }}{{ end -}}
{{- $kustomization := fromYaml $text -}}
{{- /* `replacements` set the image of init containers, which winnow.pod does. */ -}}
{{- range without (keys $kustomization) "apiVersion" "kind" "labels" "resources" "configMapGenerator" "images" "patches" "replacements" -}}
  {{- fail (printf "%s/kustomization.yaml: expected fields that the chart reads, got %s" $path .) -}}
{{- end -}}
{{- range $kustomization.resources -}}
  {{- $object := fromYaml ($files.Get (printf "%s/%s" $path .)) -}}
  {{- if $kustomization.labels -}}
    {{- $_ := set $object.metadata "labels" (merge (default (dict) $object.metadata.labels) $labels) -}}
    {{- if eq $object.kind "Service" }}{{ $_ := set $object.spec "selector" $labels }}{{ end -}}
    {{- if eq $object.kind "Deployment" }}{{ $_ := set $object.spec.template.metadata "labels" $labels }}{{ end -}}
  {{- end -}}
  {{- $_ := set $state "objects" (append $state.objects $object) -}}
{{- end -}}
{{- range $kustomization.configMapGenerator -}}
  {{- if eq .name "winnow-settings" -}}
    {{- range .envs -}}
      {{- include "winnow.variables" (dict "into" $state.settings "lines" (splitList "\n" ($files.Get (printf "%s/%s" $path .)))) -}}
    {{- end -}}
    {{- include "winnow.variables" (dict "into" $state.settings "lines" (default (list) .literals)) -}}
  {{- else -}}
    {{- $data := dict -}}
    {{- range .files }}{{ $_ := set $data . ($files.Get (printf "%s/%s" $path .)) }}{{ end -}}
    {{- $metadata := dict "name" .name "labels" (deepCopy .options.labels) -}}
    {{- $_ := set $state "objects" (append $state.objects (dict "apiVersion" "v1" "kind" "ConfigMap" "metadata" $metadata "data" $data)) -}}
  {{- end -}}
{{- end -}}
{{- range $kustomization.images }}{{ $_ := set $state "tag" .newTag }}{{ end -}}
{{- range $kustomization.patches -}}
  {{- if not .path }}{{ fail (printf "%s/kustomization.yaml: expected patches with a path, got %s" $path (toJson .)) }}{{ end -}}
  {{- $patch := fromYaml ($files.Get (printf "%s/%s" $path .path)) -}}
  {{- $target := .target -}}
  {{- range $state.objects -}}
    {{- if and (eq .kind $target.kind) (eq .metadata.name (default .metadata.name $target.name)) -}}
      {{- include "winnow.merge" (dict "into" . "from" $patch) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The components that values choose, separated by blanks. */}}
{{- define "winnow.components" -}}
{{- $names := list -}}
{{- with .Values -}}
{{- if .monitoring.enabled }}{{ $names = append $names "monitoring" }}{{ end -}}
{{- if .autoscaling.enabled }}{{ $names = append $names (ternary "autoscaling-keda" "autoscaling" (eq .autoscaling.by "keda")) }}{{ end -}}
{{- if .experiments.postgres }}{{ $names = append $names "experiments-postgres" }}{{ end -}}
{{- if .apiKeys.enabled }}{{ $names = append $names "api-keys" }}{{ end -}}
{{- if .ingress.enabled }}{{ $names = append $names "ingress" }}{{ end -}}
{{- if .gpu.enabled }}{{ $names = append $names "gpu" }}{{ end -}}
{{- if .openshift.enabled }}{{ $names = append $names "openshift" }}{{ end -}}
{{- if .models.from }}{{ $names = append $names (printf "models-%s" .models.from) }}{{ end -}}
{{- end -}}
{{- join " " $names -}}
{{- end -}}
