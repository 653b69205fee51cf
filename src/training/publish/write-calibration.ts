import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CalibrationFacts } from '../../registry/calibration.ts';
import { MANIFEST_FORMAT, writeManifest } from '../../registry/manifest.ts';
import { readVersionFolder } from '../../registry/version-folder.ts';
import { reliabilitySvg } from '../../reports/charts/reliability.ts';
import { markdownTable } from '../../reports/markdown.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { type CheckedCalibration, type FittedCalibration, METHODS, type Quality } from './fit-calibration.ts';

/** Named as documents are, which manifests have no hash of: picture and manifest need not change in one step. */
const PICTURE = 'README-calibration.svg';
const CARD = 'README.md';
const [BEGIN, END] = ['<!-- calibration:begin -->', '<!-- calibration:end -->'];

/** What a map was fitted on. */
type Origin = Pick<CalibrationFacts, 'sha256' | 'data'>;

const figure = (value: number): string => value.toFixed(4);

/** Returns the quality of the map that was taken, on lists that it was not fitted on. */
const chosen = ({ map, methods }: FittedCalibration): Quality => methods[map.method];

/** Returns the facts of a calibration as a manifest has them. */
function factsOf(fitted: FittedCalibration, { sha256, data }: Origin): CalibrationFacts {
  const { map, lists, pairs, relevant, before } = fitted;
  const after = chosen(fitted);
  return {
    sha256,
    map,
    lists,
    pairs,
    relevant,
    data,
    logLoss: { before: before.logLoss, after: after.logLoss },
    calibrationError: { before: before.calibrationError, after: after.calibrationError },
  };
}

/** Returns the rows of the table of methods: the sigmoid, and each method on lists that it was not fitted on. */
export const qualityRows = ({ map, before, methods }: FittedCalibration): string[][] => [
  ['sigmoid of the score', figure(before.logLoss), figure(before.calibrationError), ''],
  ...METHODS.map((method) => [
    method,
    figure(methods[method].logLoss),
    figure(methods[method].calibrationError),
    method === map.method ? 'taken' : '',
  ]),
];

/** Returns the rows of the table of a map that was there: the sigmoid, and the map. */
export const checkedRows = ({ sigmoid, map }: CheckedCalibration, { method }: CalibrationFacts['map']): string[][] => [
  ['sigmoid of the score', figure(sigmoid.logLoss), figure(sigmoid.calibrationError), ''],
  [`${method}, as it is`, figure(map.logLoss), figure(map.calibrationError), ''],
];

function section(fitted: FittedCalibration, { data }: Origin): string {
  const { lists, pairs, relevant, map } = fitted;
  const table = markdownTable(
    [
      { label: 'map' },
      { label: 'log loss', numeric: true },
      { label: 'expected calibration error', numeric: true },
      { label: '' },
    ],
    qualityRows(fitted),
  );
  const files = data.map(({ file, sha256 }) => `${file} (sha256 ${sha256})`).join(', ');
  return [
    BEGIN,
    '## Calibration',
    `Relevance scores are probabilities by a map (${map.method}) of ${pairs} pairs of ${lists} lists, ${relevant} of them relevant: ${files}. Each pair below is measured by a map that was fitted without its query.`,
    table,
    `![probability against the part that is relevant](${PICTURE})`,
    END,
  ].join('\n\n');
}

/** Returns a card with the section on calibration, in place of an earlier one. */
function withSection(card: string, text: string): string {
  const [from, to] = [card.indexOf(BEGIN), card.indexOf(END)];
  if (from >= 0 && to > from) return `${card.slice(0, from)}${text}${card.slice(to + END.length)}`;
  return `${card.trimEnd()}${card.trim() === '' ? '' : '\n\n'}${text}\n`;
}

/**
 * Writes a calibration into a version's folder: the diagram and the card first, then the manifest, with which it takes effect. Each file is
 * replaced in one step. A map of scores that another ONNX file gave has no effect: admission compares the hash.
 */
export async function writeCalibration(folder: string, fitted: FittedCalibration, origin: Origin): Promise<void> {
  const { manifest } = await readVersionFolder(folder);
  const lines = [
    { name: 'sigmoid', bins: fitted.before.bins },
    { name: `${fitted.map.method}, held-out lists`, bins: chosen(fitted).bins },
  ];
  await writeFileAtomic(join(folder, PICTURE), await reliabilitySvg('calibration', lines));
  const card = existsSync(join(folder, CARD)) ? await readFile(join(folder, CARD), 'utf8') : '';
  await writeFileAtomic(join(folder, CARD), withSection(card, section(fitted, origin)));
  const calibration = factsOf(fitted, origin);
  await writeManifest(folder, { ...(manifest ?? { format: MANIFEST_FORMAT }), calibration });
}
