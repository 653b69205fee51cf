import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { records } from './tools.ts';

/** A query of a dashboard or of a page. */
export interface ShownQuery {
  /** File and panel. */
  readonly where: string;
  readonly expression: string;
}

/** The step of Grafana's `$__rate_interval` in these checks, whose scrapes are a second apart. */
const RATE_INTERVAL = '20s';

/** Puts values in place of the variables of a dashboard. */
const withValues = (expression: string): string =>
  expression.replaceAll('$__rate_interval', RATE_INTERVAL).replaceAll(/\$(experiment|instance)\b/g, '.*');

function ofDashboard(file: string, text: string): ShownQuery[] {
  const { panels, templating } = Object(JSON.parse(text));
  const shown = records(panels).flatMap(({ title, targets }) =>
    records(targets).map(({ expr, refId }) => ({
      where: `${file}: ${title} ${refId}`,
      expression: withValues(String(expr)),
    })),
  );
  const variables = records(Object(templating).list).flatMap(({ name, query }) => {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(String(query)) ?? [];
    return metric ? [{ where: `${file}: variable ${name}`, expression: `count by (${label}) (${metric})` }] : [];
  });
  return [...shown, ...variables];
}

/** Returns the queries of the page of metrics: the code of its table of questions. */
function ofPage(root: string): ShownQuery[] {
  const text = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
  const [, section = ''] = text.split('## Which queries answer which question?');
  const rows = section
    .split('\n## ', 1)[0]!
    .split('\n')
    .filter((row) => row.startsWith('| ') && row.includes('`'));
  return rows.flatMap((row) =>
    [...row.matchAll(/`([^`]+)`/g)]
      .map(([, code]) => code!.replaceAll('\\|', '|'))
      .filter((code) => /winnow_\w+/.test(code))
      .map((expression) => ({ where: `docs/metrics.md: ${row.split('|')[1]!.trim()}`, expression })),
  );
}

/** Returns the queries of the runbooks: each line of a block of PromQL is one. */
function ofRunbooks(root: string): ShownQuery[] {
  const text = readFileSync(join(root, 'docs/runbooks.md'), 'utf8');
  const blocks = [...text.matchAll(/^```promql\n(.*?)^```/gms)].map(([, block]) => block!);
  return blocks.flatMap((block) =>
    block
      .trim()
      .split('\n')
      .map((expression) => ({ where: 'docs/runbooks.md', expression })),
  );
}

/** Returns every query of every dashboard, of docs/metrics.md and of the runbooks. */
export function shownQueries(root: string): readonly ShownQuery[] {
  const folder = join(root, 'docs/dashboards');
  const dashboards = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return [
    ...dashboards.flatMap((file) => ofDashboard(file, readFileSync(join(folder, file), 'utf8'))),
    ...ofPage(root),
    ...ofRunbooks(root),
  ];
}
