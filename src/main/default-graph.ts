import { join } from 'node:path';
import type { Config } from '../config/config-schema.ts';
import type { LoadSpec } from '../inference/inference-types.ts';
import { DEFAULT_LIMITS } from '../registry/folder-files.ts';
import { readDefaultVersion } from '../registry/registry-catalog.ts';
import { inspectVersion } from '../registry/version-admission.ts';

/** What is measured of the default model, and what it takes. */
interface DefaultGraph extends LoadSpec {
  /** Paths of all its ONNX files. */
  readonly files: readonly string[];
}

/**
 * Reads from its files which graph of the default model would be served; of an interaction model the one that reads passages, which costs most.
 * @returns nothing where there is no model.
 * @throws WinnowError as `inspect` does for files that are missing or invalid.
 */
export async function defaultGraph({ registry }: Config): Promise<DefaultGraph | undefined> {
  const limits = { ...DEFAULT_LIMITS, maxBytes: registry.maxModelBytes };
  const chosen = await readDefaultVersion(registry.folder, registry.defaultModel, limits);
  if (!chosen) return undefined;
  const { version, graph } = await inspectVersion(chosen, { limits, variant: registry.variant, provider: 'cpu' });
  const key = `${chosen.name}@${chosen.version}`;
  const { file, passages } = graph.variant;
  const files = [file, ...(passages === undefined ? [] : [passages])].map((path) => join(version.folder, path));
  // The id that pads rows does not change the speed, so the tokenizer's is not read.
  const { maxLength, firstPosition } = version;
  const reduction = passages === undefined ? graph.reduction : ({ kind: 'kept' } as const);
  return { key, file: files.at(-1)!, files, padId: 0, firstPosition, maxLength, reduction };
}
