import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ServerProcess, startServerProcess } from './server.ts';
import { SHIPPED } from './shipped.ts';

/** Copies the default model without its self-test, which a hash does not pass, into an empty registry folder. */
function copyModel(folder: string): void {
  const version = join(folder, 'model', '1');
  cpSync(SHIPPED, version, { recursive: true });
  const manifest = join(version, 'model.json');
  const { selfTest: _, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
  writeFileSync(manifest, JSON.stringify(rest));
}

interface NullServer {
  /** Devices, each with a host of its own. */
  readonly devices: number;
  /** Flags of `winnow serve`. */
  readonly flags?: readonly string[];
  /** Flags of Node. */
  readonly node?: readonly string[];
}

/** Starts a server whose hosts have no engine, with the default model in `folder`, an empty one. */
export function startNullServer(
  folder: string,
  { devices, flags = [], node = [] }: NullServer,
): Promise<ServerProcess> {
  copyModel(folder);
  const indexes = Array.from({ length: devices }, (_, i) => i).join(',');
  return startServerProcess({
    command: [process.execPath, ...node, join(import.meta.dirname, 'null-server.ts')],
    flags: [
      ...['--models', folder, '--registry-watch', 'false', '--provider', 'cuda', '--inference-device', indexes],
      ...flags,
    ],
  });
}
