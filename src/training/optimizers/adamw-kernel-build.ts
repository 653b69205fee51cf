import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import wabt from 'wabt';

const SOURCE = 'adamw-kernel.wat';

/** Compiles the kernel's source. Returns the text of adamw-kernel-bytes.ts. */
export async function kernelBytesText(): Promise<string> {
  const tools = await wabt();
  const module = tools.parseWat(SOURCE, await readFile(join(import.meta.dirname, SOURCE)), { simd: true });
  try {
    const { buffer } = module.toBinary({});
    return `// Made by \`npm run build:kernel\` from ${SOURCE}.\nexport const KERNEL =\n  '${Buffer.from(buffer).toString('base64')}';\n`;
  } finally {
    module.destroy();
  }
}
