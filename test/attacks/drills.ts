import { browser } from './drills/browser.ts';
import { clock } from './drills/clock.ts';
import { file, postgres } from './drills/databases.ts';
import { descriptors } from './drills/descriptors.ts';
import { dns } from './drills/dns.ts';
import { hostileFolders } from './drills/hostile-folders.ts';
import { jsonBombs } from './drills/json-bombs.ts';
import { loop } from './drills/loop.ts';
import { marks } from './drills/marks.ts';
import { readers } from './drills/readers.ts';
import { readiness } from './drills/readiness.ts';
import { tokenizers } from './drills/tokenizers.ts';
import { uploads } from './drills/uploads.ts';
import type { Drill } from './harness/drill.ts';

/** Every drill, in the order they run. A new one is a file in drills/ and a line here. */
export const DRILLS: readonly Drill[] = [
  marks,
  tokenizers,
  browser,
  jsonBombs,
  readers,
  uploads,
  readiness,
  descriptors,
  clock,
  hostileFolders,
  dns,
  loop,
  postgres,
  file,
];
