import type { Response } from 'express';
import { exchangeOf } from '../exchange.ts';
import type { HttpDeps } from '../ports.ts';

/** Sends an answer whose type is set. */
export function sendPieces(res: Response, { readiness }: Pick<HttpDeps, 'readiness'>, pieces: readonly Buffer[]): void {
  const length = pieces.reduce((total, piece) => total + piece.length, 0);
  // From here on the answer is what the request holds.
  exchangeOf(res).bytes.resize(length);
  // The connection was to be kept when the request came, but a shutdown may have begun since.
  if (readiness.draining()) res.set('connection', 'close');
  res.set('content-length', String(length));
  for (const piece of pieces) res.write(piece);
  res.end();
}
