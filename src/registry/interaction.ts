import { describe, WinnowError } from '../errors.ts';
import { isObject, type JsonObject } from '../util/json-files.ts';
import type { Manifest } from './manifest.ts';
import { excerpt } from './model-names.ts';
import type { GraphFacts } from './onnx-scan.ts';
import type { PassageGraph, SideEncoder } from './registry-types.ts';
import type { Variant } from './version-variants.ts';

/*
 * Interaction models: two ONNX files a version. `onnx/passage.onnx` reads passages, `onnx/top.onnx` scores queries against what it gave; config.json
 * says in its field `interaction` how both were made.
 */

const FIELD = 'interaction';

/** Adds this to a version's key in the hosts for the graph of passages. */
export const passageKey = (key: string): string => `${key}~passages`;

function refuse(file: string, expected: string, got: string, field: string): never {
  throw new WinnowError('invalid_manifest', { file: excerpt(file), expected, got: excerpt(got), field });
}

/** Whether config.json is that of an interaction model. */
export const isInteraction = (config: JsonObject): boolean => isObject(config[FIELD]);

function prefixOf(settings: JsonObject, field: string): string {
  const value = settings[field] ?? '';
  return typeof value === 'string' ? value : refuse('config.json', 'a text', describe(value), `${FIELD}.${field}`);
}

/**
 * Returns what an interaction model puts before texts, by model.json, else config.json; undefined for other kinds.
 * @throws WinnowError `invalid_manifest` for files that contradict each other, and fields without effect.
 */
export function statedInteraction(
  manifest: Manifest | undefined,
  config: JsonObject,
  file: string,
): SideEncoder | undefined {
  const { kind, scale, queryPrefix, passagePrefix } = manifest ?? {};
  const settings = config[FIELD];
  if (!isObject(settings)) {
    if (kind !== 'interaction') return undefined;
    return refuse('config.json', 'the settings that an interaction model was made with', 'nothing', FIELD);
  }
  if (kind !== undefined && kind !== 'interaction')
    return refuse(file, `"kind": "interaction", as config.json has \`${FIELD}\``, kind, 'kind');
  if (scale !== undefined)
    return refuse(file, 'no scale, which is part of the graph of an interaction model', String(scale), 'scale');
  return {
    queryPrefix: queryPrefix ?? prefixOf(settings, 'queryPrefix'),
    passagePrefix: passagePrefix ?? prefixOf(settings, 'passagePrefix'),
    scale: 1,
  };
}

/** Returns the fields of a manifest that state an interaction model. */
export const interactionManifest = (encoder: SideEncoder | undefined): Partial<Manifest> =>
  encoder ? { kind: 'interaction', queryPrefix: encoder.queryPrefix, passagePrefix: encoder.passagePrefix } : {};

const HALVES = ['top', 'passage'] as const;
type Half = (typeof HALVES)[number];

/** Endings of both files by number format; a half that lacks one is taken as exported. */
const FORMATS: readonly (readonly [ending: string, name: Variant['name']])[] = [
  ['', 'fp32'],
  ['_fp16', 'fp16'],
  ['_int8', 'int8'],
];

const fileOf = (half: Half, ending: string) => `onnx/${half}${ending}.onnx`;

/**
 * Returns the variants of an interaction model: both files as exported, and with a half, or both, in a smaller number format.
 * @throws WinnowError `invalid_manifest` for a half without the other.
 */
export function interactionVariants(paths: readonly string[]): readonly Variant[] {
  const has = (half: Half, ending: string) => paths.includes(fileOf(half, ending));
  const found: Variant[] = [];
  for (const [ending, name] of FORMATS) {
    if (!HALVES.some((half) => has(half, ending)) || isPartner(ending, has)) continue;
    const [file, passages] = HALVES.map((half) => {
      const own = [ending, ''].find((one) => has(half, one));
      if (own !== undefined) return fileOf(half, own);
      const other = fileOf(half === 'top' ? 'passage' : 'top', ending);
      return refuse(fileOf(half, ending), `the other half of ${other}`, 'nothing', 'files');
    });
    found.push({ name, file: file!, passages: passages! });
  }
  if (found.length > 0) return found;
  return refuse(fileOf('top', ''), 'both ONNX files of an interaction model (top.onnx, passage.onnx)', 'none', 'files');
}

/** Whether a half as exported is there for a smaller file of the other half alone. */
const isPartner = (ending: string, has: (half: Half, ending: string) => boolean): boolean =>
  ending === '' && HALVES.some((half) => !has(half, '') && FORMATS.some(([other]) => has(half, other)));

/** Whether a path is an ONNX file of an interaction model. */
export const isHalf = (path: string): boolean =>
  HALVES.some((half) => FORMATS.some(([ending]) => path === fileOf(half, ending)));

/** Inputs of the graph that scores, beside token ids of the query. */
const KEPT_INPUTS = ['query_of', 'passage_mask', 'states', 'scales', 'vector'];

/** What both graphs hand on. */
const KEPT = ['states', 'scales', 'vector'] as const;

type Values = GraphFacts['inputs'];

const named = (values: Values, name: string) => values.find((value) => value.name === name);
const listed = (values: Values) => values.map(({ name }) => name).join(', ') || 'none';

/**
 * Checks that the graph that scores reads what the graph of passages gives.
 * @param files Paths of both, for errors.
 * @returns inputs of the graph that scores that are token ids.
 * @throws WinnowError `invalid_manifest`.
 */
export function checkHalves(
  top: GraphFacts,
  passages: GraphFacts,
  files: { readonly top: string; readonly passages: string },
): Values {
  for (const name of ['query_of', 'passage_mask', 'states'])
    if (!named(top.inputs, name)) refuse(files.top, `an input ${name}`, listed(top.inputs), 'inputs');
  for (const name of KEPT) {
    const given = named(passages.outputs, name);
    const read = named(top.inputs, name);
    if (given && !read)
      refuse(files.top, `an input ${name}, which ${files.passages} gives`, listed(top.inputs), 'inputs');
    if (read && !given)
      refuse(files.passages, `an output ${name}, which ${files.top} reads`, listed(passages.outputs), 'outputs');
    const [from, to] = [given?.shape?.at(-1), read?.shape?.at(-1)];
    if (name !== 'scales' && from !== to)
      refuse(
        files.passages,
        `${name} of width ${to ?? 'any'}, which ${files.top} reads`,
        `${from ?? 'any'}`,
        'outputs',
      );
  }
  return top.inputs.filter(({ name }) => !KEPT_INPUTS.includes(name));
}

/** Returns the graph of passages of a version; undefined for other kinds. */
export const passageGraphOf = (key: string, { passages }: Pick<Variant, 'passages'>): PassageGraph | undefined =>
  passages === undefined ? undefined : { key: passageKey(key) };
