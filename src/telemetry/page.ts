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
curl -s localhost:8080/metrics | grep -E '^winnow_(requests_total|request_duration_seconds_(sum|count)|queue_jobs|ready)'
\`\`\`

\`\`\`
winnow_requests_total{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive",status="200"} 1
winnow_request_duration_seconds_sum{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive"} 0.025873069000000214
winnow_request_duration_seconds_count{model="minilm-l6-bce",version="1",dialect="tei",lane="interactive"} 1
winnow_queue_jobs 0
winnow_ready 1
\`\`\`

\`GET /metrics\` answers in Prometheus' text format and needs no key. Durations are seconds, sizes bytes. \`version\` is the version that served, never a
label such as \`stable\`; \`lane\` is \`interactive\`, \`batch\` or \`shadow\`; \`dialect\` is the wire format of the request. No label contains a client's text.

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
`;
}
