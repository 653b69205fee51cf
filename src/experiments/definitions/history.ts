import { parseJson } from '../../util/parse-json.ts';
import type { AuditEntry } from '../records.ts';
import { checkExperiment, configHash, type Experiment } from './definition.ts';

type Leaves = Map<string, string>;

/** Applies the diff of an audit to the leaves of a definition, by path. */
function applyDiff(leaves: Leaves, diff: string): void {
  for (const line of diff.split('\n')) {
    const [, sign, path, value] = /^([+-]) (\S+): (.*)$/.exec(line) ?? [];
    if (path === undefined || value === undefined) continue;
    if (sign === '-') leaves.delete(path);
    else leaves.set(path, value);
  }
}

/** Builds the value whose leaves these are. */
function nestedOf(leaves: Leaves): unknown {
  const whole = leaves.get('');
  if (whole !== undefined) return parseJson(whole);
  const children = Map.groupBy(leaves, ([path]) => path.split('.', 1)[0]!);
  const entries = [...children].map(([key, inner]) => {
    const below = inner.map(([path, value]) => [path.slice(key.length + 1), value] as const);
    return [key, nestedOf(new Map(below))] as const;
  });
  const isArray = entries.length > 0 && entries.every(([key], i) => key === String(i));
  return isArray ? entries.map(([, value]) => value) : Object.fromEntries(entries);
}

function definitionOf(leaves: Leaves, hash: string): Experiment | undefined {
  try {
    // Paths are sorted, so that the items of an array that was changed are in their order.
    const sorted = new Map([...leaves].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true })));
    const value = nestedOf(sorted);
    // A definition that was rebuilt wrongly, or comes from a release with another schema, is not known.
    return configHash(value) === hash ? checkExperiment(value, 'audits') : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Rebuilds every definition that an experiment has had from its audits: the first one has all fields, later ones what changed. Each is
 * verified by its hash.
 * @param audits those of one experiment, oldest first.
 * @param current the definition in effect.
 * @returns definitions by `configHash`; one that cannot be rebuilt is absent.
 */
export function definitionHistory(audits: readonly AuditEntry[], current: Experiment): ReadonlyMap<string, Experiment> {
  const known = new Map<string, Experiment>();
  const leaves: Leaves = new Map();
  for (const { action, diff, configHash: hash } of audits) {
    if (action === 'tripped') continue;
    if (action === 'created') leaves.clear();
    applyDiff(leaves, diff);
    const definition = action === 'removed' ? undefined : definitionOf(leaves, hash);
    if (definition) known.set(hash, definition);
  }
  known.set(configHash(current), current);
  return known;
}
