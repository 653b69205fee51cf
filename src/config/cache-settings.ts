import { z } from 'zod';
import { optionalBytes, toggle } from './setting-fields.ts';

/** The settings of the passage cache. */
export const cacheSettings = z.strictObject({
  passageBytes: optionalBytes(
    0,
    2 ** 42,
    'Limits the memory for vectors and states of passages seen before, which bi-encoders and interaction models read again; at least 1 MiB, 0 turns the passage cache off. Unset: a sixteenth of the memory, at most 1 GiB and half of what hosts leave. Raising it helps where more passages come again.',
  ),
  shared: toggle(
    false,
    'Shares what is kept of passages among all API keys. Without it a key is answered faster only for passages that it sent itself, so that response times tell nothing of the texts of others.',
  ),
});
