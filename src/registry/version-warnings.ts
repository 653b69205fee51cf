import type { HostPool } from '../inference/inference-types.ts';
import { ownTargets, targetOf } from './processor.ts';
import type { VersionFolder } from './version-folder.ts';
import type { ChosenGraph } from './version-graph.ts';
import { TOLERANCE, toleranceFor } from './version-self-test.ts';
import { isForeign } from './version-variants.ts';

/** A version and the file that is served. */
interface Scored {
  readonly version: VersionFolder;
  readonly graph: ChosenGraph;
  readonly sha256: string;
}

/** Largest difference of a pair's scores in different batches by rounding alone, by variant. GPUs multiply with fewer digits. */
function roundingOf(variant: string, provider: HostPool['provider']): number {
  return Math.max(TOLERANCE[variant]!, provider === 'cpu' ? 0 : TOLERANCE.fp16!);
}

/** Returns a warning if scores depend on the rows of a batch: `moved` is how much that of a probe did. */
function batchWarning(
  { version: { encoder }, graph }: Pick<Scored, 'version' | 'graph'>,
  moved: number,
  provider: HostPool['provider'],
): readonly string[] {
  const { variant, batchOps, isMasked } = graph;
  const isMoved = moved > toleranceFor(roundingOf(variant.name, provider), encoder);
  if (batchOps.length === 0 && !isMoved) return [];
  const cause =
    batchOps.length > 0
      ? `${batchOps.join(' and ')} computes its scale over all rows of a batch (dynamic int8)`
      : isMasked
        ? 'an operator of the graph computes over the rows or the padding of a batch'
        : 'the graph has no input attention_mask, so that padding is read as text';
  const effect = `a score depends on the co-batched rows; that of a self-test pair differed by ${moved.toPrecision(2)}`;
  return [`${variant.file}: ${cause}: ${effect}. Serve another variant, or an int8 file of \`winnow quantize\``];
}

/** Returns a warning if a file is made for another processor. */
function processorWarning({ variant }: ChosenGraph): readonly string[] {
  if (!isForeign(variant.file)) return [];
  const own = ownTargets().join(', ') || 'none of the known ones';
  return [`${variant.file} is made for ${targetOf(variant.file)}, this processor is ${own}: its scores may differ`];
}

/** Returns a warning if the version was calibrated for pruning with another ONNX file. */
function pruningWarning({ version: { manifest }, graph, sha256 }: Scored): readonly string[] {
  if (!manifest?.pruning || manifest.pruning.sha256 === sha256) return [];
  return [`model.json: pruning was calibrated with another file than ${graph.variant.file}: requests are not pruned`];
}

/** Returns how the served file's scores become probabilities; undefined where the version was calibrated with another file, or not at all. */
export const ownCalibration = ({ version: { manifest }, sha256 }: Scored) =>
  manifest?.calibration?.sha256 === sha256 ? manifest.calibration : undefined;

/** Returns a warning if the version was calibrated with another ONNX file. */
function calibrationWarning(inspected: Scored): readonly string[] {
  const { version, graph } = inspected;
  if (!version.manifest?.calibration || ownCalibration(inspected)) return [];
  const effect =
    version.activation === 'none' ? 'scores are returned as they are' : 'relevance scores are those of the sigmoid';
  return [`model.json: scores were calibrated with another file than ${graph.variant.file}: ${effect}`];
}

/**
 * Returns the warnings about a version that was tested.
 * @param moved how much the score of a pair differed between batches.
 */
export const warningsAbout = (inspected: Scored, moved: number, provider: HostPool['provider']): readonly string[] => [
  ...inspected.version.warnings,
  ...batchWarning(inspected, moved, provider),
  ...processorWarning(inspected.graph),
  ...pruningWarning(inspected),
  ...calibrationWarning(inspected),
];
