import { WinnowError } from '../../errors.ts';
import type { Experiment } from '../definitions/definition.ts';
import { definitionHistory } from '../definitions/history.ts';
import type { ArmContent, AuditEntry, ExperimentStore } from '../records.ts';

/** A definition under which there were exposures. */
export interface DefinitionSpan {
  readonly configHash: string;
  readonly requests: number;
  /** First and last exposure, milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** A version that answered for an arm. */
export interface VersionSpan {
  readonly arm: string;
  /** `model@version`. */
  readonly version: string;
  readonly requests: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** The exposures that a report counts, and what there is beside them. */
export interface Period {
  /** Exposures before are left out, milliseconds since 1970; absent where all count. */
  readonly since?: number;
  readonly definitions: readonly DefinitionSpan[];
  readonly versions: readonly VersionSpan[];
  readonly warnings: readonly string[];
}

/** The form of a `configHash`. */
export const DEFINITION_HASH = /^[0-9a-f]{12}$/;

/** When the figures begin: milliseconds since 1970, or the `configHash` of a definition for its first exposure. */
export type Since = number | string;

interface Span {
  readonly requests: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

const spanOf = (spans: readonly Span[]): Span => ({
  requests: spans.reduce((sum, { requests }) => sum + requests, 0),
  firstAt: Math.min(...spans.map(({ firstAt }) => firstAt)),
  lastAt: Math.max(...spans.map(({ lastAt }) => lastAt)),
});

/** Returns the arms whose figures a request of `row` counts in: its own, or all where several answer or are compared with the answer. */
const armsOf = (experiment: Experiment, row: ArmContent): readonly string[] =>
  row.mode === 'split' ? [row.arm] : experiment.arms.map(({ name }) => name);

const versionSpans = (experiment: Experiment, contents: readonly ArmContent[]): VersionSpan[] =>
  experiment.arms.flatMap(({ name: arm }) => {
    const rows = contents.filter((row) => row.models[arm] !== undefined && armsOf(experiment, row).includes(arm));
    const byVersion = Map.groupBy(rows, (row) => row.models[arm]!);
    return [...byVersion].map(([version, of]) => ({ arm, version, ...spanOf(of) }));
  });

/** What an arm's requests must have in common to be counted together. */
interface Present {
  readonly arm: string;
  /** The model that the definition names. */
  readonly model: string;
  /** What the definition tells the model to look for; absent where requests decide. */
  readonly instruction?: string | undefined;
  /** The version that answered last for it; absent where none has yet. */
  readonly version?: string;
}

/** An arm in a row's definition; nothing where definition or arm are not known. */
const definedArm = (history: ReadonlyMap<string, Experiment>, row: ArmContent, arm: string) =>
  history.get(row.configHash)?.arms.find(({ name }) => name === arm);

function presentOf(
  experiment: Experiment,
  history: ReadonlyMap<string, Experiment>,
  contents: readonly ArmContent[],
): readonly Present[] {
  return experiment.arms.map(({ name: arm, model, instruction }) => {
    const answered = contents.filter(
      (row) =>
        row.models[arm] !== undefined &&
        armsOf(experiment, row).includes(arm) &&
        (definedArm(history, row, arm)?.model ?? model) === model,
    );
    const version = answered.toSorted((a, b) => a.lastAt - b.lastAt).at(-1)?.models[arm];
    return { arm, model, instruction, ...(version === undefined ? {} : { version }) };
  });
}

const toldText = (instruction: string | undefined, has: string): string =>
  instruction === undefined
    ? `${has} no instruction`
    : `${has} the instruction ${JSON.stringify(instruction.slice(0, 80))}`;

/** Says what was different about an arm in a row's requests; nothing where it is as it is now. */
function difference(history: ReadonlyMap<string, Experiment>, row: ArmContent, present: Present): string | undefined {
  const { arm, model, instruction, version } = present;
  const answered = row.models[arm];
  const defined = definedArm(history, row, arm);
  if (defined && defined.instruction !== instruction)
    return `arm ${arm} ${toldText(defined.instruction, 'had')}, ${toldText(instruction, 'now has')}`;
  if (answered !== undefined && version !== undefined)
    return answered === version ? undefined : `arm ${arm} was answered by ${answered}, now by ${version}`;
  return !defined || defined.model === model ? undefined : `arm ${arm} was ${defined.model}, now ${model}`;
}

const isoTime = (at: number) => new Date(at).toISOString();

/** Finds the last request for which an arm was not what it is now: figures from before belong to other models. */
function lastChange(
  experiment: Experiment,
  history: ReadonlyMap<string, Experiment>,
  contents: readonly ArmContent[],
): { readonly at: number; readonly text: string } | undefined {
  const present = presentOf(experiment, history, contents);
  const changes = contents.flatMap((row) => {
    if (row.mode !== experiment.mode)
      return [{ at: row.lastAt, text: `the mode was ${row.mode}, now ${experiment.mode}` }];
    const arms = armsOf(experiment, row);
    return present
      .filter(({ arm }) => arms.includes(arm))
      .flatMap((one) => {
        const text = difference(history, row, one);
        return text === undefined ? [] : [{ at: row.lastAt, text }];
      });
  });
  return changes.toSorted((a, b) => a.at - b.at).at(-1);
}

/** @throws WinnowError `invalid_field` for a definition without exposures. */
function startOf(since: Since, definitions: readonly DefinitionSpan[]): number {
  const named = definitions.find(({ configHash: hash }) => hash === String(since));
  if (named) return named.firstAt;
  if (typeof since === 'number' || /^\d+$/.test(since)) return Number(since);
  const known = definitions.map(({ configHash: hash }) => hash).join(', ') || 'none yet';
  throw new WinnowError('invalid_field', {
    expected: `a time, or a definition with exposures (${known})`,
    got: since,
    field: 'since',
  });
}

/** Warns of arms whose figures are of several versions, because `since` asks for it. */
function mixtures(spans: readonly VersionSpan[]): readonly string[] {
  return [...Map.groupBy(spans, ({ arm }) => arm)]
    .filter(([, of]) => of.length > 1)
    .map(([arm, of]) => {
      const versions = of.map(({ version, requests }) => `${version} (${requests} requests)`).join(' and ');
      return `arm ${arm} was answered by ${versions}: its figures mix them`;
    });
}

/** What `since` and `until` of a report ask for. */
export interface PeriodOptions {
  readonly since?: Since | undefined;
  readonly until?: number | undefined;
}

/**
 * Finds the exposures that belong together. Without `since` these are the ones after the last time that an arm was another model or
 * version, or the experiment had another mode. Changed weights, metrics, or coverage keep them.
 * @param contents oldest first.
 * @throws WinnowError `invalid_field` for a definition without exposures.
 */
export function periodFrom(
  experiment: Experiment,
  contents: readonly ArmContent[],
  history: ReadonlyMap<string, Experiment>,
  { since, until }: PeriodOptions = {},
): Period {
  const byHash = Map.groupBy(contents, (row) => row.configHash);
  const definitions = [...byHash].map(([hash, of]) => ({ configHash: hash, ...spanOf(of) }));
  const versions = versionSpans(experiment, contents);
  if (since !== undefined) {
    const start = startOf(since, definitions);
    const counted = versionSpans(
      experiment,
      contents.filter(({ lastAt }) => lastAt >= start),
    );
    return { since: start, definitions, versions, warnings: mixtures(counted) };
  }
  // The state at an earlier time is that of the definition which was in force then.
  const newest = contents.toSorted((a, b) => a.lastAt - b.lastAt).at(-1);
  const then = until === undefined ? undefined : history.get(newest?.configHash ?? '');
  const change = lastChange(then ?? experiment, history, contents);
  if (!change) return { definitions, versions, warnings: [] };
  const warning = `figures begin after ${isoTime(change.at)}: until then ${change.text}. See all with since = 0`;
  // Times are whole milliseconds.
  return { since: change.at + 1, definitions, versions, warnings: [warning] };
}

/** A period, and the definitions that it was found by. */
export interface PeriodReading {
  /** Of the experiment, oldest first. */
  readonly audits: readonly AuditEntry[];
  /** Definitions by `configHash`. */
  readonly history: ReadonlyMap<string, Experiment>;
  readonly period: Period;
}

/** Reads the period of an experiment. @throws the database's error; WinnowError `invalid_field` for a definition without exposures. */
export async function readPeriod(
  store: ExperimentStore,
  experiment: Experiment,
  options: PeriodOptions = {},
): Promise<PeriodReading> {
  const { name } = experiment;
  const [contents, audits] = await Promise.all([store.contents(name, options.until), store.audits(name)]);
  const history = definitionHistory(audits, experiment);
  return { audits, history, period: periodFrom(experiment, contents, history, options) };
}
