import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const SECRET = [
  'authorization',
  'cookie',
  'apiKey',
  'token',
  'password',
  'query',
  'texts',
  'documents',
  'passages',
  'text',
  'body',
];
const HEADERS = ['x-api-key', 'proxy-authorization', 'set-cookie'];

function lineOf(write: (sink: { write(line: string): void }) => void): unknown {
  const lines: string[] = [];
  write({ write: (line) => void lines.push(line) });
  const { time: _, level: __, msg: ___, ...fields } = JSON.parse(lines.join(''));
  return fields;
}

/** What pino's own redaction makes of a line. */
const expected = (line: object) =>
  lineOf((sink) => {
    const paths = [
      ...SECRET.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
      ...HEADERS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]),
    ];
    const censor = (value: unknown) => (typeof value === 'number' ? value : '[redacted]');
    pino({ base: {}, messageKey: 'msg', redact: { paths, censor } }, sink).info(line, 'm');
  });

const got = (line: object) => lineOf((sink) => createLogger('info', sink).info(line, 'm'));

const name = fc.constantFrom(...SECRET, ...HEADERS, 'model', 'status', 'a', 'b', 'headers');
const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
const nested = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.dictionary(name, tie('value'), { maxKeys: 3 }),
    fc.array(tie('value'), { maxLength: 2 }),
  ),
})).value;

describe('what a log line leaves out', () => {
  it('is what pino would leave out, at every depth', () => {
    fc.assert(
      fc.property(fc.dictionary(name, nested, { maxKeys: 5 }), (line) => {
        const before = JSON.stringify(line);
        const found = got(line);
        expect(JSON.stringify(line)).toBe(before);
        expect(found).toEqual(expected(line));
      }),
      { numRuns: 400 },
    );
  });

  it('leaves errors to their serializer, and hides the text of others', () => {
    const error = Object.assign(new Error('it failed'), { query: 'private words' });
    for (const field of ['err', 'error']) {
      const line = got({ [field]: error }) as Record<string, { message: string }>;
      expect(line[field]!.message).toBe('it failed');
      expect(JSON.stringify(line)).not.toContain('private words');
    }
    expect(JSON.stringify(got({ reason: error }))).not.toContain('private words');
    const client = new WinnowError('invalid_field', { field: 'query', expected: 'text', got: 'private words' });
    expect(JSON.stringify(got({ err: client }))).not.toContain('private words');
  });

  it('holds for the fields of a child too', () => {
    const line = lineOf((sink) => createLogger('info', sink).child({ query: 'private words', model: 'm' }).info('x'));
    expect(line).toEqual({ query: '[redacted]', model: 'm' });
  });
});
