import { METRICS } from './metrics.ts';

type Row = (typeof METRICS)[keyof typeof METRICS];

/** Sections of the page, by the first metric of each. */
const TITLES: Readonly<Record<string, string>> = {
  winnow_requests_total: 'Requests',
  winnow_experiments: 'Experiments',
  winnow_tokenize_duration_seconds: 'Stages of a request',
  winnow_batch_duration_seconds: 'Batches',
  winnow_queue_tokens: 'Queue',
  winnow_hosts: 'Inference hosts',
  winnow_cache_hits_total: 'Caches',
  winnow_model_info: 'Models',
  winnow_info: 'Process',
};

function rowOf({ name, kind, labels, help }: Row): string {
  const shown = labels.length === 0 ? '' : labels.map((label) => `\`${label}\``).join(', ');
  return `| \`${name}\` | ${kind} | ${shown} | ${help} |`;
}

const TRACES = `
## Traces

\`\`\`sh
OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 OTEL_SERVICE_NAME=search-reranker npx winnow serve
\`\`\`

Spans are sent by OTLP over HTTP, as JSON. A caller's \`traceparent\` is continued and its decision to sample is kept; answers and log lines name the trace.

| span | what it covers | attributes |
|---|---|---|
| \`POST /rerank\`: method and route | a request; probes and \`/metrics\` have none | \`http.*\`, \`winnow.model\`, \`winnow.version\`, \`winnow.dialect\`, \`winnow.passages\`, experiment and arm, \`error.type\` |
| \`load\` | the wait for a version that was not in memory | |
| \`tokenize\`, \`queue\`, \`infer\` | the steps of a request, or of a stage | |
| \`cascade stage\` | one stage, with its steps below it | \`winnow.stage\`, \`winnow.model\`, \`winnow.version\`, \`winnow.passages\` |
| \`model load\` | a load, as a trace of its own | \`winnow.model\`, \`winnow.version\`, \`winnow.variant\`, \`winnow.bytes\` |

| variable | effect |
|---|---|
| \`OTEL_EXPORTER_OTLP_ENDPOINT\` | the same as the setting \`telemetry.otlpEndpoint\`; \`/v1/traces\` is added |
| \`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT\` | the whole URL; \`telemetry.otlpEndpoint\` wins over it |
| \`OTEL_EXPORTER_OTLP_HEADERS\`, \`_TIMEOUT\`, \`_COMPRESSION\`, \`_CERTIFICATE\`, \`_CLIENT_CERTIFICATE\`, \`_CLIENT_KEY\`, each also with \`TRACES_\` | as OpenTelemetry defines them |
| \`OTEL_EXPORTER_OTLP_PROTOCOL\` | \`http/json\` only |
| \`OTEL_SERVICE_NAME\`, \`OTEL_RESOURCE_ATTRIBUTES\` | resource of the spans; the name is \`winnow\` by default |
| \`OTEL_TRACES_SAMPLER\`, \`OTEL_TRACES_SAMPLER_ARG\` | \`always_on\`, \`always_off\`, \`traceidratio\`, each also \`parentbased_\`; instead of \`telemetry.traceRatio\` |
| \`OTEL_BSP_SCHEDULE_DELAY\`, \`_EXPORT_TIMEOUT\`, \`_MAX_QUEUE_SIZE\`, \`_MAX_EXPORT_BATCH_SIZE\` | how spans are sent in batches |
| \`OTEL_TRACES_EXPORTER\` | \`none\` ends traces; \`otlp\` without an endpoint sends to \`http://localhost:4318\` |
| \`OTEL_SDK_DISABLED\` | \`true\` ends traces |

Every other \`OTEL_*\` variable, a value that is not known, and a variable that has no effect beside a setting are logged at the start
(\`OpenTelemetry variable\`).
`;

/** Returns the page docs/metrics.md. `processMetrics` are the names that prom-client adds. */
export function metricsMarkdown(processMetrics: readonly string[]): string {
  const lines = Object.values(METRICS).flatMap((row) => {
    const title = TITLES[row.name];
    return title
      ? ['', `## ${title}`, '', '| name | kind | labels | |', '|---|---|---|---|', rowOf(row)]
      : [rowOf(row)];
  });
  return `# Metrics

\`\`\`sh
curl -s localhost:8080/metrics | grep -E '^winnow_(requests_total.*"200"|request_duration_seconds_(sum|count)|demand_ratio|ready)'
\`\`\`

\`\`\`
winnow_requests_total{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive",status="200"} 1
winnow_request_duration_seconds_sum{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive"} 0.15652084899999955
winnow_request_duration_seconds_count{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive"} 1
winnow_demand_ratio 0.0002636412845726511
winnow_ready 1
\`\`\`

\`GET /metrics\` answers in Prometheus' text format and needs no key. Durations are seconds, sizes bytes. \`version\` is the version that served, never a
label such as \`stable\`; \`lane\` is \`interactive\`, \`batch\` or \`shadow\`; \`dialect\` is the wire format of the request. No label contains a client's text.

- Scrapers that prefer OpenMetrics (\`Accept: application/openmetrics-text\`, which Prometheus sends) get it. There, errors and latencies name the trace of
  a request (\`trace_id\`), if it is recorded; Prometheus keeps these exemplars with \`--enable-feature=exemplar-storage\`.
- Counters start at 0 where their labels are known: errors by code and format, hosts, lanes, models from their load, experiments from their definition.
  \`increase()\` therefore sees the first event. Failures in \`winnow_requests_total\` start with the first request of their format.
- Counters by \`host\` go on when a host is replaced.

Dashboards for Grafana are [serving.json](dashboards/serving.json) and [experiments.json](dashboards/experiments.json), alerts are in
[alerts.yaml](alerts.yaml), and [runbooks](runbooks.md) say what to do when one fires. \`npm run test:metrics\` shows that every query has data and that
alerts fire.

## Which queries answer which question?

| question | query |
|---|---|
| How long do answers take? | \`histogram_quantile(0.99, sum by (le) (rate(winnow_request_duration_seconds_bucket{lane="interactive"}[5m])))\` |
| Is it the queue or the engine? | \`rate(winnow_queue_wait_seconds_sum[5m])\` against \`rate(winnow_infer_duration_seconds_sum[5m])\` |
| Is more capacity needed? | \`sum(winnow_demand_ratio)\`: how many processes it would keep busy, refused work included; the autoscaler in \`k8s/\` follows it |
| Is work refused? | \`sum by (code) (rate(winnow_errors_total[5m]))\`, \`sum by (reason) (rate(winnow_shed_rows_total[5m]))\` |
| Is padding wasted? | \`winnow_padding_ratio\` |
| Does an arm fail or lag? | \`sum by (experiment, arm) (rate(winnow_arm_failures_total[5m]))\`, \`histogram_quantile(0.95, sum by (experiment, arm, le) (rate(winnow_arm_duration_seconds_bucket[5m])))\` |
| Are exposures lost? | \`increase(winnow_exposures_lost_total[1h])\` |
| Are hosts in trouble? | \`sum by (event, cause) (increase(winnow_host_events_total{event=~"lost\\|model_missing"}[1h]))\` |
${lines.join('\n')}

## Metrics of the Node process

${processMetrics.map((name) => `\`${name}\``).join(', ')}
${TRACES}`;
}
