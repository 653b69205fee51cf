import { join } from 'node:path';
import { writeFileAtomic } from '../../util/files.ts';
import { kernelBytesText } from './adamw-kernel-build.ts';

/* `npm run build:kernel`: compiles adamw-kernel.wat. */
await writeFileAtomic(join(import.meta.dirname, 'adamw-kernel-bytes.ts'), await kernelBytesText());
