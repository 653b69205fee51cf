import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { alertNames, shortenedRules } from '../metrics/rules.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const HEAD = `# The rules of docs/alerts.yaml (npx vitest run test/drift/alerts.test.ts -u writes them anew). docs/runbooks.md says what to do.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: winnow
  labels:
    app.kubernetes.io/name: winnow
    app.kubernetes.io/component: server
spec:
`;

/** Returns the groups of a rules file as they stand in a PrometheusRule: without the file's comments, two spaces further in. */
function groupsOf(rules: string): string {
  const lines = rules.slice(rules.indexOf('groups:')).trimEnd().split('\n');
  return `${lines.map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}\n`;
}

describe('alerts', () => {
  const rules = read('docs/alerts.yaml');

  it('are the same in the file for Prometheus and in the PrometheusRule', async () => {
    const path = 'k8s/components/monitoring/prometheusrule.yaml';
    await expect(HEAD + groupsOf(rules)).toMatchFileSnapshot(join(ROOT, path));
    expect(parse(read(path)).spec).toEqual(parse(rules));
  });

  it('have a runbook each, and runbooks are of alerts', () => {
    const page = read('docs/runbooks.md');
    const headings = [...page.matchAll(/^## (\w+)$/gm)].map(([, name]) => name!);
    expect(headings).toEqual(alertNames(ROOT));
    const links = [...rules.matchAll(/runbook: (\S+)/g)].map(([, link]) => link!);
    expect(links).toEqual(headings.map((name) => `docs/runbooks.md#${name.toLowerCase()}`));
    for (const section of page.split(/^## /m).slice(1))
      for (const part of ['**Means.**', '**Look at.**']) expect(section, section.split('\n', 1)[0]).toContain(part);
  });

  it('are tested by promtool, firing and not firing', () => {
    const tests = read('test/metrics/alerts.test.yaml');
    for (const name of alertNames(ROOT)) {
      const cases = tests
        .split(`alertname: ${name}`)
        .slice(1)
        .map((rest) => rest.split('alertname:', 1)[0]!);
      expect(
        cases.some((one) => /exp_alerts: \[\]/.test(one.split('\n', 1)[0]!)),
        `${name} not firing`,
      ).toBe(true);
      expect(
        cases.some((one) => one.includes('exp_labels')),
        `${name} firing`,
      ).toBe(true);
    }
  });

  it('keep their limits where the drill shortens their times', () => {
    const short = parse(shortenedRules(ROOT)).groups[0].rules;
    const shipped = parse(rules).groups[0].rules;
    const withoutTimes = (text: string) => text.replaceAll(/\[\w+\]/g, '[…]');
    expect(short.map(({ expr }: { expr: string }) => withoutTimes(expr))).toEqual(
      shipped.map(({ expr }: { expr: string }) => withoutTimes(expr)),
    );
    expect(short).not.toEqual(shipped);
  });
});
