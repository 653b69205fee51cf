import { readFileSync } from 'node:fs';

/** Process ids of the children of a process, as the kernel lists them. */
export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
