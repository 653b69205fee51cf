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

\`GET /metrics\` answers in Prometheus' text format, without a key. Durations are seconds, sizes bytes. \`version\` is the version that served, never a
label such as \`stable\`; \`lane\` is \`interactive\`, \`batch\` or \`shadow\`; \`dialect\` is the wire format the request was written in. No label holds text of a
client.

What to look at first:

| question | query |
|---|---|
| How long do answers take? | \`histogram_quantile(0.99, sum by (le) (rate(winnow_request_duration_seconds_bucket{lane="interactive"}[5m])))\` |
| Is it the queue or the engine? | \`rate(winnow_queue_wait_seconds_sum[5m])\` against \`rate(winnow_infer_duration_seconds_sum[5m])\` |
| Is more capacity needed? | \`avg(winnow_queue_jobs)\`: the autoscaler in \`k8s/\` follows it |
| Is work refused? | \`sum by (code) (rate(winnow_errors_total[5m]))\`, \`sum by (reason) (rate(winnow_shed_rows_total[5m]))\` |
| Is padding wasted? | \`winnow_padding_ratio\` |
| Does an arm fail or lag? | \`sum by (experiment, arm) (rate(winnow_arm_failures_total[5m]))\`, \`histogram_quantile(0.95, sum by (experiment, arm, le) (rate(winnow_arm_duration_seconds_bucket[5m])))\` |
| Are exposures lost? | \`increase(winnow_exposures_lost_total[1h])\` |
| Are hosts in trouble? | \`sum by (event, cause) (increase(winnow_host_events_total{event=~"lost\\|model_missing"}[1h]))\` |
${lines.join('\n')}

## Of Node itself

${processMetrics.map((name) => `\`${name}\``).join(', ')}
`;
}
