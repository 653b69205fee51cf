import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createLogger, type LogLevel } from '../../src/telemetry/logger.ts';

function capture(level: LogLevel = 'info') {
  const lines: string[] = [];
  const logger = createLogger(level, { write: (line: string) => void lines.push(line) });
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? 'null') };
}

describe('logger', () => {
  it('writes one JSON object per line with time, level as a word and message', () => {
    const { logger, lines, last } = capture();
    logger.info({ requestId: 'r1', status: 200 }, 'answered');
    expect(lines).toHaveLength(1);
    expect(last()).toMatchObject({ level: 'info', msg: 'answered', requestId: 'r1', status: 200 });
    expect(new Date(last().time).getTime()).toBeGreaterThan(Date.UTC(2020, 0));
  });

  it('writes nothing below its level', () => {
    const { logger, lines } = capture('warn');
    logger.info('quiet');
    logger.warn('loud');
    expect(lines.map((l) => JSON.parse(l).msg)).toEqual(['loud']);
  });

  it('redacts document text, keys and cookies at any depth of a request', () => {
    const { logger, lines } = capture();
    const text = 'PRIVATE TEXT';
    logger.info({ query: text, texts: [text], req: { body: { documents: [text] }, headers: { authorization: text } } });
    logger.info({ headers: { 'x-api-key': text, cookie: text }, request: { query: text, passages: [text] } });
    logger.child({ documents: [text] }).info('child');
    expect(lines.join('')).not.toContain(text);
    expect(lines.join('')).toContain('[redacted]');
  });

  it('shows counts, which contain no text', () => {
    const { logger, last } = capture();
    logger.info({ passages: 100, texts: ['PRIVATE'] });
    expect(last()).toMatchObject({ passages: 100, texts: '[redacted]' });
  });

  it('shows a client error without text of the request', () => {
    const { logger, last } = capture();
    const err = new WinnowError('invalid_field', { expected: 'a string', got: '"PRIVATE" (string)', field: 'query' });
    logger.info({ err }, 'refused');
    expect(last().err).toEqual({ code: 'invalid_field', status: 422, field: 'query' });
  });

  it('shows a server error with stack and cause', () => {
    const { logger, last } = capture();
    const cause = new TypeError('deep');
    logger.error({ err: new WinnowError('inference_failed', { reason: 'row 3' }, { cause }) }, 'failed');
    expect(last().err).toMatchObject({ code: 'inference_failed', message: 'Backend error: row 3' });
    expect(last().err.stack).toContain('logger.test.ts');
    expect(last().err.cause).toMatchObject({ type: 'TypeError', message: 'deep' });
  });
});
