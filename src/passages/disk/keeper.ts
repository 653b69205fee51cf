import { rmSync } from 'node:fs';
import { PassageDatabase } from './database.ts';
import { FileError } from './errors.ts';
import type { FileCall, FileFacts, FileSetting, PassagesRead } from './file-types.ts';
import { asideOf, BESIDE, setAside } from './place.ts';

/** Answers the calls to a passage file, and replaces a file that is damaged or gone. Calls are synchronous. */
export class FileKeeper {
  readonly #setting: FileSetting;
  #database: PassageDatabase | undefined;
  #aside: FileFacts['aside'];

  constructor(setting: FileSetting) {
    this.#setting = setting;
  }

  /** Returns what there is to say of the file since the last call of this. */
  facts(): FileFacts {
    const aside = this.#aside;
    this.#aside = undefined;
    return { counts: this.#database?.counts ?? { entries: 0, bytes: 0 }, spaces: this.#database?.spaces ?? [], aside };
  }

  /** @throws FileError. The next call opens a new file where this one is damaged or gone. */
  run(call: FileCall): PassagesRead | undefined {
    try {
      return this.#answer(call);
    } catch (error) {
      this.#giveUp(error);
      throw error;
    }
  }

  #answer(call: FileCall): PassagesRead | undefined {
    switch (call.kind) {
      case 'open':
        this.#open();
        return undefined;
      case 'read':
        return this.#open().read(call.spaces, call.from, call.bytes);
      case 'write':
        this.#open().write(call.passages, call.forget);
        return undefined;
      case 'drop':
        this.#open().drop(call.spaces);
        // It may hold entries of theirs.
        rmSync(asideOf(this.#setting.path), { force: true });
        return undefined;
      case 'empty':
        this.#close();
        for (const suffix of ['', ...BESIDE]) rmSync(this.#setting.path + suffix, { force: true });
        rmSync(asideOf(this.#setting.path), { force: true });
        this.#open();
        return undefined;
      case 'close':
        this.#close();
        return undefined;
    }
  }

  /** Opens the file, unless it is open; one that is damaged is moved away first. */
  #open(): PassageDatabase {
    try {
      this.#database ??= new PassageDatabase(this.#setting);
    } catch (error) {
      if (!(error instanceof FileError) || error.fault !== 'damaged') throw error;
      this.#moveAway(error);
      this.#database = new PassageDatabase(this.#setting);
    }
    return this.#database;
  }

  #moveAway(error: FileError): void {
    this.#aside = { to: setAside(this.#setting.path), reason: error.message };
  }

  #close(): void {
    const database = this.#database;
    this.#database = undefined;
    database?.close();
  }

  #giveUp(error: unknown): void {
    if (!(error instanceof FileError) || (error.fault !== 'damaged' && error.fault !== 'lost')) return;
    try {
      this.#close();
    } catch {
      // What could not be written at the end was damaged as well.
    }
    if (error.fault === 'damaged') this.#moveAway(error);
  }
}
