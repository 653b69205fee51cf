import { z } from 'zod';
import { optionalBytes, optionalText, toggle } from './setting-fields.ts';

/** The settings of the passage cache. */
export const cacheSettings = z.strictObject({
  passageBytes: optionalBytes(
    0,
    2 ** 42,
    'Limits the memory for vectors and states of passages seen before, which bi-encoders and interaction models read again; at least 1 MiB, 0 turns the passage cache off. Unset: a sixteenth of the memory, at most 1 GiB and half of what hosts leave (the start logs it). Raising it helps where more passages come again.',
  ),
  passageFile: optionalText(
    'Names the file in which kept passages survive restarts; it is created. Each process needs a file of its own. It holds at most as many bytes as the memory, and is as confidential as the texts. Unset: passages are kept in memory only.',
  ),
  shared: toggle(
    false,
    'Shares what is kept of passages among all API keys. Without it a key is answered faster only for passages that it sent itself, so that response times tell nothing of the texts of others.',
  ),
});
