import { z } from 'zod';
import { sumOfKept } from '../../rerank/kept-passages.ts';
import type { RerankAnswer } from '../../rerank/rerank-types.ts';

/** What `usage` says of the passage cache. */
export const keptField = {
  kept_passages: z.number().int().min(0).optional().meta({
    description:
      'Winnow: passages whose vector or states were in the passage cache; absent for models that read query and passage together.',
  }),
};

/** Returns that field; nothing where no model of the answers looks passages up. */
export function keptOf(answers: readonly RerankAnswer[]): { readonly kept_passages?: number } {
  const kept = sumOfKept(answers);
  return kept ? { kept_passages: kept.hits } : {};
}
