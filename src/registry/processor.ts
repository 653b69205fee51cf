import { readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { once } from '../util/once.ts';

/** Instruction sets that the names of int8 files give (`optimum.onnxruntime.AutoQuantizationConfig`). */
const TARGETS = ['arm64', 'avx2', 'avx512', 'avx512_vnni'] as const;
export type Target = (typeof TARGETS)[number];

/**
 * Returns the targets whose int8 files suit a processor, best first.
 * @param flags Feature flags as in /proc/cpuinfo; only read for x64.
 */
export function targetsOf(architecture: string, flags: ReadonlySet<string>): readonly Target[] {
  if (architecture === 'arm64') return ['arm64'];
  if (architecture !== 'x64') return [];
  const hasVnni = flags.has('avx512_vnni') || flags.has('avx_vnni');
  const targets: Target[] = [];
  if (hasVnni) targets.push('avx512_vnni');
  if (flags.has('avx512f') || hasVnni) targets.push('avx512');
  return [...targets, 'avx2'];
}

function readFlags(): ReadonlySet<string> {
  try {
    return new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(/\s+/));
  } catch {
    // Systems without /proc: only what every x64 processor of the last ten years has.
    return new Set();
  }
}

/** Returns the targets whose int8 files suit this processor, best first. */
export const ownTargets: () => readonly Target[] = once(() => targetsOf(arch(), readFlags()));

const IN_NAME = /_qu?int8_([a-z0-9_]+)\.onnx$/;

/** Returns the target that an ONNX file is made for by its name; undefined if it names none. */
export function targetOf(file: string): Target | undefined {
  const named = IN_NAME.exec(file)?.[1];
  return TARGETS.find((target) => target === named);
}
