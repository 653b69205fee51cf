import type { HttpOptions } from './ports.ts';

/** Whether texts that are too long are cut; an operator's `always` overrules clients that cannot be configured to allow it. */
export function truncates(
  { autoTruncate = true }: Pick<HttpOptions, 'autoTruncate'>,
  asked: boolean | undefined,
): boolean {
  return autoTruncate === 'always' || (asked ?? autoTruncate);
}
