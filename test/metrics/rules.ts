import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Ranges and waiting times of the shipped rules, and those of the drill, whose faults last seconds. */
const SHORTENED: Readonly<Record<string, string>> = {
  '[5m]': '[20s]',
  '[10m]': '[30s]',
  '[15m]': '[30s]',
  'for: 1m': 'for: 3s',
  'for: 2m': 'for: 3s',
  'for: 5m': 'for: 3s',
  'for: 10m': 'for: 3s',
};

const DURATION = /\[\w+\]|\bfor: \w+/g;

export const rulesFile = (root: string): string => join(root, 'docs/alerts.yaml');

/** Returns the shipped rules with shortened times. @throws Error for a time that has no short form. */
export function shortenedRules(root: string): string {
  return readFileSync(rulesFile(root), 'utf8').replaceAll(DURATION, (time) => {
    const short = SHORTENED[time];
    if (short === undefined) throw new Error(`expected one of ${Object.keys(SHORTENED).join(', ')}, got ${time}`);
    return short;
  });
}

/** Returns the names of the shipped alerts, in order. */
export const alertNames = (root: string): readonly string[] =>
  [...readFileSync(rulesFile(root), 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
