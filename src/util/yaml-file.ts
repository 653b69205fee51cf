import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { WinnowError } from '../errors.ts';

/**
 * Reads and parses a YAML file.
 * @throws WinnowError `invalid_input` where the file cannot be read or is no YAML, with the line.
 */
export function readYamlFile(path: string): { readonly text: string; readonly document: unknown } {
  try {
    const text = readFileSync(path, 'utf8');
    return { text, document: parse(text) };
  } catch (error) {
    const got = (error as Error).message.split('\n')[0]!;
    throw new WinnowError('invalid_input', { where: path, expected: 'a readable YAML file', got }, { cause: error });
  }
}
