import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tools.ts';

const KERNEL = '/proc/sys/fs/binfmt_misc';
const NAME = 'winnow-aarch64';
const EMULATOR = '/usr/bin/qemu-aarch64-static';
/** First bytes of an arm64 program: ELF, 64 bits, little-endian, executable or shared, machine 183; and which bits of them count. */
const MAGIC = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xb7, 0];
const MASK = [255, 255, 255, 255, 255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0xfe, 255, 255, 255];

const escaped = (bytes: readonly number[]) => bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');

/** Whether the kernel hands arm64 programs to an emulator that it keeps open (flag F), so that containers need no file of it. */
const isRegistered = (): boolean =>
  existsSync(join(KERNEL, 'register')) &&
  readdirSync(KERNEL).some((name) => {
    const text = name === 'register' || name === 'status' ? '' : readFileSync(join(KERNEL, name), 'utf8');
    return text.startsWith('enabled') && text.includes('aarch64') && /^flags: .*F/m.test(text);
  });

/**
 * Calls `work` while this machine runs arm64 programs by qemu-user-static. A handler that is there (docker's, binfmt-support's) is used; else one
 * is registered, and removed at the end.
 * @throws Error where the emulator is not installed.
 */
export async function emulatingArm64<T>(work: () => Promise<T>): Promise<T> {
  if (process.arch === 'arm64' || isRegistered()) return work();
  if (!existsSync(EMULATOR)) throw new Error(`expected ${EMULATOR}; apt-get install qemu-user-static`);
  const mounts = !existsSync(join(KERNEL, 'register'));
  if (mounts) run('mount', ['-t', 'binfmt_misc', 'binfmt_misc', KERNEL]);
  writeFileSync(join(KERNEL, 'register'), `:${NAME}:M::${escaped(MAGIC)}:${escaped(MASK)}:${EMULATOR}:F`);
  try {
    return await work();
  } finally {
    writeFileSync(join(KERNEL, NAME), '-1');
    if (mounts) run('umount', [KERNEL]);
  }
}
