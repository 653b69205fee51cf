import type { FileFault } from './errors.ts';
import type { PackedPassages } from './packed.ts';

/* What the thread of a passage file and its caller tell each other. */

/** A place in a file: entries behind `after`, up to the last one that was there when reading began. */
export interface ReadFrom {
  readonly after: bigint;
  readonly until: bigint;
}

/** What was read from a file. */
export interface PassagesRead {
  readonly passages: PackedPassages;
  /** Where to go on; undefined at the end. */
  readonly next: ReadFrom | undefined;
  /** Entries that were not what was written, and are gone now. */
  readonly damaged: number;
}

/** Entries and their values' bytes. */
export interface FileCounts {
  readonly entries: number;
  readonly bytes: number;
}

/** What the thread of a passage file starts with. */
export interface FileSetting {
  readonly path: string;
  /** Of all values together; the oldest entries are dropped beyond it. */
  readonly limitBytes: number;
  /** Milliseconds for which another process may have the file open, such as one that is being replaced. */
  readonly waitMs: number;
}

/** A call to the thread. `empty` removes every entry, and the file that held them. */
export type FileCall =
  | { readonly kind: 'open' | 'empty' | 'close' }
  | {
      readonly kind: 'read';
      readonly spaces: readonly string[];
      readonly from: ReadFrom | undefined;
      readonly bytes: number;
    }
  | { readonly kind: 'write'; readonly passages: PackedPassages; readonly forget: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'drop'; readonly spaces: readonly string[] };

export type FileReply =
  | { readonly id: number; readonly ok: true; readonly value: PassagesRead | undefined }
  | { readonly id: number; readonly ok: false; readonly fault: FileFault; readonly message: string };

/** What every reply says of the file. */
export interface FileFacts {
  readonly counts: FileCounts;
  readonly spaces: readonly string[];
  /** Where a damaged file was moved since the reply before. */
  readonly aside: { readonly to: string; readonly reason: string } | undefined;
}
