import { join } from 'node:path';
import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { templateFields } from '../util/known-templates.ts';
import { issueExpectation, issueFinding } from '../util/schema-issues.ts';
import { calibrationSchema } from './calibration.ts';
import { encoderFields } from './encoder-fields.ts';
import { DEFAULT_LIMITS, type FolderLimits, readJsonObject } from './folder-files.ts';
import { excerpt, isSafePath } from './model-names.ts';
import { pruningSchema } from './pruning.ts';

export const MANIFEST_FILE = 'model.json';
export const MANIFEST_FORMAT = 1;

/** A fact of a training run: a JSON value. */
type Fact = string | number | boolean | null | readonly Fact[] | { readonly [key: string]: Fact };

const fact: z.ZodType<Fact> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(fact), z.record(z.string(), fact)]),
);

const safePath = z.string().refine(isSafePath, 'expected a relative path inside the folder');
const text = z.string().min(1).max(10_000);

const fileEntry = z.strictObject({
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits'),
  bytes: z.int().min(0),
});

const selfTestSchema = z.strictObject({
  /** Largest difference of a score (logit) from the recorded one. */
  tolerance: z.number().min(0).max(100),
  pairs: z
    .array(z.strictObject({ query: text, passage: text, scores: z.record(z.string(), z.number()) }))
    .min(2)
    .max(256),
});

/** `model.json`. Every field except `format` is optional; the Hugging Face files provide the defaults. */
const manifestSchema = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  description: z.string().max(10_000).optional(),
  license: z.string().max(1000).optional(),
  /** Its origin: a repository with its revision, or a training run. */
  source: z.string().max(1000).optional(),
  created: z.iso.datetime().optional(),
  activation: z.enum(['sigmoid', 'none']).optional(),
  maxLength: z.int().min(8).max(1_048_576).optional(),
  /** The most tokens of a query; absent: as many as the pair has room for. */
  maxQueryTokens: z.int().min(1).max(1_048_576).optional(),
  truncation: z.enum(['longest_first', 'only_second']).optional(),
  ...templateFields,
  ...encoderFields,
  reduction: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('single') }),
      z.strictObject({ kind: z.literal('class'), index: z.int().min(0).max(4095) }),
    ])
    .optional(),
  objective: z.string().max(1000).optional(),
  backbone: z.string().max(1000).optional(),
  /** The ONNX files compute the modules of `modules.json`, whose weights lie beside them for PyTorch. */
  wholeGraph: z.literal(true).optional(),
  training: z.record(z.string(), fact).optional(),
  selfTest: selfTestSchema.optional(),
  pruning: pruningSchema.optional(),
  calibration: calibrationSchema.optional(),
  files: z.record(safePath, fileEntry).optional(),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type SelfTest = z.infer<typeof selfTestSchema>;

/**
 * Checks the content of a `model.json`.
 * @param file File name for error messages.
 * @throws WinnowError `invalid_manifest` naming the first wrong field; `unsafe_path` for a path that leaves the folder.
 */
export function parseManifest(value: unknown, file: string = MANIFEST_FILE): Manifest {
  const result = manifestSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.map(String);
  if (path[0] === 'files' && path[1] !== undefined && !isSafePath(path[1]))
    throw new WinnowError('unsafe_path', { file, got: JSON.stringify(excerpt(path[1])) });
  const field = excerpt(path.join('.') || (issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : 'manifest'));
  throw new WinnowError('invalid_manifest', {
    file,
    expected: issueExpectation(issue),
    got: excerpt(issueFinding(issue, value)),
    field,
  });
}

/** Reads `model.json` of a version's folder. @throws WinnowError `invalid_manifest`, `unsafe_path`. */
export async function readManifest(folder: string, limits: FolderLimits = DEFAULT_LIMITS): Promise<Manifest> {
  return parseManifest(await readJsonObject(join(folder, MANIFEST_FILE), MANIFEST_FILE, limits));
}

/** Checks a manifest and writes it atomically as `model.json`. @throws WinnowError `invalid_manifest`. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const checked = parseManifest(manifest);
  await writeFileAtomic(join(folder, MANIFEST_FILE), `${JSON.stringify(checked, null, 2)}\n`);
}
