import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/registry/folder-files.ts';
import { MAX_SETTINGS_BYTES, MAX_TOKENS } from '../../src/tokenization/tokenizer-limits.ts';
import { MAX_TOKENIZER_BYTES } from '../../src/util/model-limits.ts';

const page = (name: string) =>
  readFileSync(join(import.meta.dirname, '..', '..', 'docs', name), 'utf8').replaceAll(/\s+/g, ' ');
const mib = (bytes: number) => `${bytes / 2 ** 20} MiB`;

it('registry and tokenizers accept tokenizer files of the same size', () => {
  expect(DEFAULT_LIMITS.maxTokenizerBytes).toBe(MAX_TOKENIZER_BYTES);
});

it('docs/registry.md states the limits of a model folder', () => {
  const { maxFiles, maxJsonBytes, maxTokenizerBytes, maxJsonDepth } = DEFAULT_LIMITS;
  const text = page('registry.md');
  expect(text).toContain(`${maxFiles.toLocaleString('en')} files`);
  expect(text).toContain(`JSON files are at most ${mib(maxJsonBytes)}`);
  expect(text).toContain(`tokenizers and vocabularies ${mib(maxTokenizerBytes)}`);
  expect(text).toContain(`${maxJsonDepth} brackets deep`);
});

it('docs/tokenization.md states the limits of tokenizer files', () => {
  const text = page('tokenization.md');
  expect(text).toContain(mib(MAX_TOKENIZER_BYTES));
  expect(text).toContain(`configurations ${mib(MAX_SETTINGS_BYTES)}`);
  expect(text).toContain(`${MAX_TOKENS.toLocaleString('en')} tokens`);
});
