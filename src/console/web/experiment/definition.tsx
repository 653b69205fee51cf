import type { ExperimentView } from '../../../experiments/experiments-api.ts';
import type { AuditEntry } from '../../../experiments/records.ts';
import { moment, percent } from '../format.ts';
import { useData } from '../hooks.ts';
import { Badge, Facts, Fault, type Tone } from '../parts.tsx';

const LIMITS: Readonly<Record<string, (max: number) => string>> = {
  errors: (max) => `at most ${percent(max)} of requests fail`,
  latency_p95_ms: (max) => `p95 of latency at most ${max} ms`,
};

export function DefinitionFacts({ view: { definition, source, configHash } }: { view: ExperimentView }) {
  const { unit, mode, coverage, arms, guardrails, start, end } = definition;
  const weights = arms.reduce((sum, { weight }) => sum + weight, 0);
  return (
    <Facts
      entries={[
        ['Unit', unit],
        ['Coverage', percent(coverage, 0)],
        [
          'Split',
          mode === 'split' && arms.map(({ name, weight }) => `${name} ${percent(weight / weights, 0)}`).join(', '),
        ],
        ['Start', start && moment(Date.parse(start))],
        ['End', end && moment(Date.parse(end))],
        ['Guardrails', guardrails.map(({ metric, max }) => LIMITS[metric]?.(max) ?? `${metric} ≤ ${max}`).join('; ')],
        ['Defined in', source === 'file' ? 'experiments.yaml' : 'the API'],
        ['Definition', <code key="hash">{configHash}</code>],
      ]}
    />
  );
}

const ACTIONS: Readonly<Record<AuditEntry['action'], Tone>> = {
  created: 'good',
  changed: 'accent',
  removed: 'plain',
  tripped: 'bad',
};

/** Lists the changes of an experiment, newest first. */
export function AuditTrail({ name }: { name: string }) {
  const audits = useData<{ readonly audits: readonly AuditEntry[] }>(
    `v1/experiments/${encodeURIComponent(name)}/audits`,
    15_000,
  );
  return (
    <section aria-labelledby="audits-title" class="metric">
      <h2 id="audits-title">Audit trail</h2>
      <Fault error={audits.error} />
      <ol class="audits">
        {audits.value?.audits
          .toSorted((a, b) => b.at - a.at)
          .map(({ at, who, action, configHash, diff }) => (
            <li key={`${at} ${configHash} ${action}`}>
              <p class="version-head">
                <time class="tabular" dateTime={new Date(at).toISOString()}>
                  {moment(at)}
                </time>
                <Badge tone={ACTIONS[action]}>{action}</Badge>
                <span>{who}</span>
                <code class="muted">{configHash}</code>
              </p>
              {diff && <pre>{diff}</pre>}
            </li>
          ))}
      </ol>
      {audits.value?.audits.length === 0 && <p class="muted">No change is recorded yet.</p>}
    </section>
  );
}

export function DefinitionText({ view }: { view: ExperimentView }) {
  return (
    <details>
      <summary>Whole definition</summary>
      <pre>{JSON.stringify(view.definition, undefined, 2)}</pre>
    </details>
  );
}
