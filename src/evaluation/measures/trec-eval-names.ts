import { nearestName } from '../../util/nearest.ts';
import { MEASURES, type MeasureRule } from './catalog.ts';
import { failMeasure } from './measure-arguments.ts';

const RULES: readonly [kind: string, rule: MeasureRule][] = Object.entries(MEASURES);

/** trec_eval's name → kind, for names that take a list of cutoffs or levels. */
const LISTED = new Map(
  RULES.flatMap(([kind, rule]) => (rule.trecEvalName ? [[rule.trecEvalName, { kind, rule }] as const] : [])),
);

/** What trec_eval prints by default, in its order. `runid`, its only text, is left out. */
const OFFICIAL = [
  'NumQ',
  'NumRet',
  'NumRel',
  'NumRet(rel=1)',
  'AP',
  'GMAP',
  'Rprec',
  'Bpref',
  'RR',
  'iprec_at_recall',
  'P',
];

/** Groups of trec_eval that hold measures which are not here. */
const GROUPS = ['all_trec', 'set', 'prefs', 'all_prefs', 'qrels_jg'];

/** Measures of trec_eval and ir_measures that are not here, and the one that is nearest by meaning. */
const NEAREST: Readonly<Record<string, string>> = {
  rprec_mult: 'Rprec',
  relative_p: 'P',
  set_relative_p: 'SetP',
  setrelp: 'SetP',
  rndcg: 'nDCG',
  ndcg_rel: 'nDCG',
  g: 'nDCG',
  bing: 'nDCG',
  sdcg: 'nDCG',
  alpha_ndcg: 'nDCG',
  gm_bpref: 'Bpref',
  num_nonrel_judged_ret: 'NumRet',
  utility: 'SetP',
  accuracy: 'Bpref',
  nerr8: 'ERR',
  nerr9: 'ERR',
  nerr10: 'ERR',
  nerr11: 'ERR',
  err_ia: 'ERR',
  bpm: 'RBP',
  inst: 'RBP',
  insq: 'RBP',
  nrbp: 'RBP',
  hit: 'Success',
  hits: 'Success',
  hitrate: 'Success',
  f: 'F1',
};

/** Returns the measure that is nearest to an unknown name, by meaning or by spelling. */
export const nearestMeasure = (name: string, kinds: readonly string[]): string | undefined =>
  NEAREST[name.toLowerCase()] ?? nearestName(name, kinds, 2);

/**
 * Returns the names of ir_measures that a name of trec_eval stands for, undefined for any other text.
 *
 * @throws WinnowError `invalid_input` for a group of which some measures are missing here.
 */
export function trecEvalMeasures(text: string): string[] | undefined {
  if (text === 'official') return OFFICIAL.flatMap((name) => trecEvalMeasures(name) ?? [name]);
  if (GROUPS.includes(text)) return failMeasure(text, 'single measures, or official', `${text}, which has others too`);
  const [, name = '', list] = /^([A-Za-z_]+?)(?:[._](\d[\d.,]*))?$/.exec(text) ?? [];
  const listed = LISTED.get(name);
  if (listed !== undefined) {
    const values = list === undefined ? (listed.rule.trecEvalList ?? []).map(String) : list.split(',');
    return values.map((value) => `${listed.kind}@${value}`);
  }
  const beta = /^set_F\.(\d[\d.]*)$/.exec(text)?.[1];
  if (beta !== undefined) return [`SetF(beta=${beta})`];
  const gains = /^ndcg\.(\d+=[-\d.]+(?:,\d+=[-\d.]+)*)$/.exec(text)?.[1];
  return gains === undefined ? undefined : [`nDCG(gains={${gains}})`];
}
