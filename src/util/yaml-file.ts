import { isScalar, LineCounter, parseDocument, visit, YAMLParseError } from 'yaml';
import { WinnowError } from '../errors.ts';
import { readTextSync } from './text.ts';

/** Most bytes of a YAML file: room for several thousand API keys. */
export const YAML_BYTES = 2 ** 20;

/** The parser takes time quadratic in the properties of nodes. */
const MOST_PROPERTIES = 1000;
/** Most uses of one anchor's content, nested uses multiplied: nine lists of nine aliases each are 81. */
const MOST_ALIASES = 100;

/**
 * Parses YAML as `parse` of the package does, in time linear in the text: keys are compared by a set, not each with each.
 *
 * @throws YAMLParseError with `linePos` where the text is not YAML; an Error for aliases that multiply.
 */
export function parseYaml(text: string): unknown {
  const properties = text.match(/(?<=^|[\s,[{])[&!][^\s,]/gm)?.length ?? 0;
  if (properties > MOST_PROPERTIES) throw new Error(`${properties} anchors and tags, more than ${MOST_PROPERTIES}`);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { uniqueKeys: false, lineCounter });
  for (const warning of document.warnings) process.emitWarning(warning);
  if (document.errors.length > 0) throw document.errors[0];
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) throw repeatedKey(key.range?.[0] ?? 0, lineCounter);
        seen.add(key.value);
      }
    },
  });
  return document.toJS({ maxAliasCount: MOST_ALIASES });
}

function repeatedKey(at: number, lines: LineCounter): YAMLParseError {
  const position = lines.linePos(at);
  const where = `line ${position.line}, column ${position.col}`;
  const error = new YAMLParseError([at, at + 1], 'DUPLICATE_KEY', `Map keys must be unique at ${where}`);
  error.linePos = [position];
  return error;
}

/** Names the file in what is wrong with it. @throws WinnowError `invalid_input` where `work` throws. */
function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    const got = (error as Error).message.split('\n')[0]!;
    throw new WinnowError('invalid_input', { where: path, expected: 'a readable YAML file', got }, { cause: error });
  }
}

/** Reads and parses a YAML file. @throws WinnowError `invalid_input` for one that is unreadable, too large, not UTF-8 or not YAML. */
export const readYamlFile = (path: string): { readonly text: string; readonly document: unknown } =>
  naming(path, () => {
    const text = readTextSync(path, YAML_BYTES);
    return { text, document: parseYaml(text) };
  });

/** Parses the text of a YAML file. @throws WinnowError `invalid_input` where it is not YAML. */
export const yamlDocument = (text: string, path: string): unknown => naming(path, () => parseYaml(text));
