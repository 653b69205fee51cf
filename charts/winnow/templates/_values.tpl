{{/* What values change in the pod. */}}
{{- define "winnow.pod" -}}
{{- $values := .root.Values -}}
{{- $state := .state -}}
{{- $deployment := .deployment -}}
{{- $template := $deployment.spec.template -}}
{{- $pod := $template.spec -}}
{{- $image := printf "%s:%s" $values.image.repository (default $state.tag $values.image.tag) -}}
{{- if $values.image.digest }}{{ $image = printf "%s@%s" $values.image.repository $values.image.digest }}{{ end -}}
{{- range concat $pod.containers (default (list) $pod.initContainers) -}}
  {{- if eq .image "winnow" }}{{ $_ := set . "image" $image }}{{ end -}}
  {{- if $values.image.pullPolicy }}{{ $_ := set . "imagePullPolicy" $values.image.pullPolicy }}{{ end -}}
  {{- if eq .name "models-pull" -}}
    {{- range .env -}}
      {{- if and (eq .name "MODEL") $values.models.pull.model }}{{ $_ := set . "value" $values.models.pull.model }}{{ end -}}
      {{- if and (eq .name "REVISION") $values.models.pull.revision }}{{ $_ := set . "value" $values.models.pull.revision }}{{ end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $pod.volumes -}}
  {{- if and (eq .name "models") .image $values.models.image }}{{ $_ := set .image "reference" $values.models.image }}{{ end -}}
{{- end -}}
{{- $server := dict "name" "winnow" "resources" $values.resources "env" $values.env -}}
{{- include "winnow.merge" (dict "into" $pod "from" (dict "containers" (list $server))) -}}
{{- include "winnow.merge" (dict "into" $pod "from" $values.pod) -}}
{{- $checksum := dict "checksum/settings" (sha256sum (toJson $state.settings)) -}}
{{- $_ := set $template.metadata "annotations" (merge (deepCopy $values.podAnnotations) $checksum (default (dict) $template.metadata.annotations)) -}}
{{- if not (kindIs "invalid" $values.replicas) }}{{ $_ := set $deployment.spec "replicas" $values.replicas }}{{ end -}}
{{- end -}}

{{/* What values change in an autoscaler or Ingress. */}}
{{- define "winnow.object" -}}
{{- $values := .root.Values -}}
{{- with .object -}}
{{- if eq .kind "HorizontalPodAutoscaler" -}}
  {{- with $values.autoscaling.minReplicas }}{{ $_ := set $.object.spec "minReplicas" . }}{{ end -}}
  {{- with $values.autoscaling.maxReplicas }}{{ $_ := set $.object.spec "maxReplicas" . }}{{ end -}}
{{- else if eq .kind "ScaledObject" -}}
  {{- with $values.autoscaling.minReplicas }}{{ $_ := set $.object.spec "minReplicaCount" . }}{{ $_ := set $.object.spec.fallback "replicas" . }}{{ end -}}
  {{- with $values.autoscaling.maxReplicas }}{{ $_ := set $.object.spec "maxReplicaCount" . }}{{ end -}}
  {{- $metadata := (index .spec.triggers 0).metadata -}}
  {{- with $values.autoscaling.prometheus }}{{ $_ := set $metadata "serverAddress" . }}{{ end -}}
  {{- $_ := set $metadata "query" (replace "namespace=\"winnow\"" (printf "namespace=%q" $.root.Release.Namespace) $metadata.query) -}}
{{- else if eq .kind "Ingress" -}}
  {{- with $values.ingress.className }}{{ $_ := set $.object.spec "ingressClassName" . }}{{ end -}}
  {{- with $values.ingress.host -}}
    {{- $_ := set (index $.object.spec.rules 0) "host" . -}}
    {{- $_ := set (index $.object.spec.tls 0) "hosts" (list .) -}}
  {{- end -}}
  {{- with $values.ingress.tlsSecret }}{{ $_ := set (index $.object.spec.tls 0) "secretName" . }}{{ end -}}
  {{- $_ := set .metadata "annotations" (merge (deepCopy $values.ingress.annotations) .metadata.annotations) -}}
{{- end -}}
{{- end -}}
{{- end -}}
