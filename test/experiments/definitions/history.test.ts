import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkExperiment, configHash, type Experiment } from '../../../src/experiments/definitions/definition.ts';
import { diffOf } from '../../../src/experiments/definitions/diff.ts';
import { definitionHistory } from '../../../src/experiments/definitions/history.ts';
import type { AuditEntry } from '../../../src/experiments/records.ts';

const arm = fc.record({
  model: fc.constantFrom('m', 'm@1', 'n:stable', 'a: b'),
  weight: fc.double({ min: 0.01, max: 99, noNaN: true }),
});

const definition = fc
  .record({
    arms: fc.array(arm, { minLength: 2, maxLength: 10 }),
    guardrails: fc.array(
      fc.record({ metric: fc.constant('errors'), max: fc.double({ min: 0, max: 1, noNaN: true }) }),
      {
        maxLength: 2,
      },
    ),
    header: fc.option(fc.dictionary(fc.stringMatching(/^[A-Za-z-]{1,5}$/), fc.string(), { maxKeys: 2 })),
    coverage: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(
    ({ arms, guardrails, header, coverage }): Experiment =>
      checkExperiment(
        {
          name: 'trial',
          arms: arms.map((one, i) => ({ ...one, name: `arm${i}` })),
          control: 'arm0',
          metrics: [{ name: 'clicks' }],
          guardrails,
          coverage,
          ...(header ? { when: { header } } : {}),
        },
        'test',
      ),
  );

/** The audits that a book writes for definitions put one after another. */
const auditsOf = (definitions: readonly Experiment[]): AuditEntry[] =>
  definitions.map((one, i) => ({
    at: i,
    who: 'ada',
    experiment: 'trial',
    action: i === 0 ? 'created' : 'changed',
    configHash: configHash(one),
    diff: diffOf(definitions[i - 1], one),
  }));

describe('the history of a definition', () => {
  it('is rebuilt from its audits, every version of it', () => {
    fc.assert(
      fc.property(fc.array(definition, { minLength: 1, maxLength: 5 }), (definitions) => {
        const history = definitionHistory(auditsOf(definitions), definitions.at(-1)!);
        for (const one of definitions) expect(history.get(configHash(one))).toEqual(one);
      }),
    );
  });

  it('survives a removal, and does not invent what an audit does not prove', () => {
    const [one, two, three] = fc.sample(definition, { numRuns: 3, seed: 7 }) as [Experiment, Experiment, Experiment];
    const removed = { ...auditsOf([one])[0]!, action: 'removed' as const, diff: diffOf(one, undefined) };
    const history = definitionHistory([...auditsOf([one]), removed, ...auditsOf([two])], two);
    expect([...history.keys()].sort()).toEqual([one, two].map(configHash).sort());
    const [first, , last] = auditsOf([one, two, three]) as [AuditEntry, AuditEntry, AuditEntry];
    expect([...definitionHistory([first, last], one).keys()]).toEqual([configHash(one)]);
  });
});
