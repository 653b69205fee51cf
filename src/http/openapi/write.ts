import { join } from 'node:path';
import { writeFileAtomic } from '../../util/files.ts';
import { buildDocument, documentText } from './document.ts';

/* `npm run openapi`: writes openapi.yaml from the schemas. */
await writeFileAtomic(join(import.meta.dirname, '..', '..', '..', 'openapi.yaml'), documentText(buildDocument()));
