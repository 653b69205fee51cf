import { chmodSync, rmSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { FileError, FOREIGN, guarded } from './errors.ts';
import type { FileCounts, FileSetting, PassagesRead, ReadFrom } from './file-types.ts';
import { fileState } from './header.ts';
import { KEY_BYTES, type KeptPassage, type PackedPassages, packPassages, unpackPassages } from './packed.ts';
import { create, identityOf, LAYOUT, logOf, open } from './place.ts';

const checksum = (key: Uint8Array, space: string, tokens: number, value: Uint8Array): number =>
  crc32(value, crc32(`${tokens} ${space}`, crc32(key)));

type Row = Readonly<Record<string, unknown>>;

const numberIn = (value: unknown): number => (typeof value === 'bigint' ? Number(value) : Number.NaN);

/**
 * A file of passages, open in this process alone. Calls are synchronous: for a worker thread. Every call may throw FileError; after `damaged`
 * and `lost` the file has to be opened anew.
 */
export class PassageDatabase {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #identity: string;
  /** The log beside the file, as the last write found it. */
  #log: string | undefined;
  readonly #limitBytes: number;
  readonly #spaces = new Map<string, number>();
  /** Those that the transaction has made. */
  readonly #added = new Set<string>();
  readonly #prepared = new Map<string, StatementSync>();
  #entries: number;
  #bytes: number;
  /** Entries without a space that were found, until a read reports them. */
  #orphans = 0;

  /** Opens a file, and creates it if missing. @throws FileError. */
  constructor({ path, limitBytes, waitMs }: FileSetting) {
    this.#path = path;
    this.#limitBytes = limitBytes;
    const opened = guarded(() => {
      const state = fileState(path);
      if (state === 'foreign') throw new FileError('foreign', FOREIGN);
      if (state === 'damaged') throw new FileError('damaged', 'a broken header');
      if (state === 'empty') rmSync(path);
      if (state !== 'own') create(path);
      chmodSync(path, 0o600);
      return open(path, waitMs);
    });
    this.#database = opened;
    try {
      this.#identity = identityOf(path);
      this.#checkLayout();
      for (const { id, name } of this.#all('SELECT id, name FROM spaces'))
        if (typeof name === 'string') this.#spaces.set(name, numberIn(id));
      const sums = this.#all('SELECT COUNT(*) AS entries, TOTAL(length(value)) AS bytes FROM passages')[0]!;
      this.#entries = numberIn(sums.entries);
      this.#bytes = Number(sums.bytes);
      guarded(() => {
        this.#transaction(() => {
          const before = this.#entries;
          this.#remove('space NOT IN (SELECT id FROM spaces)');
          this.#orphans = before - this.#entries;
          this.#dropOldest();
        });
      });
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  get counts(): FileCounts {
    return { entries: this.#entries, bytes: this.#bytes };
  }

  /** Returns the names of all spaces. */
  get spaces(): readonly string[] {
    return [...this.#spaces.keys()];
  }

  /**
   * Reads the entries of some spaces, oldest first. Entries that are not what was written are removed.
   * @param from `next` of the read before; undefined at the start.
   * @param bytes of values to read, about.
   */
  read(spaces: readonly string[], from: ReadFrom | undefined, bytes: number): PassagesRead {
    const names = new Map<number, string>();
    for (const name of spaces) {
      const id = this.#spaces.get(name);
      if (id !== undefined) names.set(id, name);
    }
    const among = [...names.keys()].join(', ');
    const { after, until } = from ?? { after: 0n, until: this.#lastId() };
    const found: KeptPassage[] = [];
    const damaged: bigint[] = [];
    let next: ReadFrom | undefined;
    let sum = 0;
    guarded(() => {
      const sql = `SELECT * FROM passages WHERE id > ? AND id <= ? AND space IN (${among}) ORDER BY id`;
      for (const row of this.#prepare(sql).iterate(after, until)) {
        const id = typeof row.id === 'bigint' ? row.id : until;
        const passage = passageOf(row, names);
        if (passage) found.push(passage);
        else damaged.push(id);
        sum += passage?.value.length ?? 0;
        if (sum < bytes) continue;
        next = { after: id, until };
        break;
      }
      if (damaged.length === 0) return;
      this.#transaction(() => {
        for (const id of damaged) this.#remove('id = ?', id);
      });
    });
    const lost = damaged.length + this.#orphans;
    this.#orphans = 0;
    return { passages: packPassages(found), next, damaged: lost };
  }

  /**
   * Stores passages and forgets others, in one transaction. An entry whose key is there stays as it is.
   * @param forget `KEY_BYTES` bytes of each.
   */
  write(passages: PackedPassages, forget: Uint8Array): void {
    guarded(() => {
      if (identityOf(this.#path) !== this.#identity) throw new FileError('lost', 'the file was deleted or replaced');
      this.#log = identityOf(logOf(this.#path));
      this.#transaction(() => {
        for (const passage of unpackPassages(passages)) this.#insert(passage);
        for (let at = 0; at < forget.length; at += KEY_BYTES)
          this.#remove('key = ?', forget.subarray(at, at + KEY_BYTES));
        this.#dropOldest();
      });
    });
  }

  /** Removes every entry of some spaces, and overwrites it. */
  drop(spaces: readonly string[]): void {
    guarded(() => {
      this.#database.exec('PRAGMA secure_delete = ON');
      try {
        this.#transaction(() => {
          for (const space of spaces) {
            const id = this.#spaces.get(space);
            if (id === undefined) continue;
            this.#remove('space = ?', id);
            this.#prepare('DELETE FROM spaces WHERE id = ?').run(id);
          }
        });
      } finally {
        for (const space of spaces) this.#spaces.delete(space);
        this.#database.exec('PRAGMA secure_delete = FAST');
      }
      this.#database.exec('PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)');
    });
  }

  close(): void {
    this.#prepared.clear();
    if (!this.#database.isOpen) return;
    const isLost = identityOf(this.#path) !== this.#identity;
    this.#database.close();
    // SQLite leaves the log of a file that is gone; the next file there would get what it holds.
    if (isLost && identityOf(logOf(this.#path)) === this.#log) rmSync(logOf(this.#path), { force: true });
  }

  #checkLayout(): void {
    const [version] = this.#all('PRAGMA user_version');
    const layout = numberIn(version?.user_version);
    if (layout !== LAYOUT)
      throw new FileError('damaged', `layout ${layout} of another release (this one has ${LAYOUT})`);
  }

  #lastId(): bigint {
    const [row] = this.#all('SELECT MAX(id) AS id FROM passages');
    return typeof row?.id === 'bigint' ? row.id : 0n;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      // A damaged number may be larger than JavaScript's integers.
      statement.setReadBigInts(true);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }

  #all(sql: string): readonly Row[] {
    return guarded(() => this.#prepare(sql).all());
  }

  #transaction(work: () => void): void {
    const before = this.counts;
    this.#added.clear();
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      // A full disk has ended the transaction already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      this.#entries = before.entries;
      this.#bytes = before.bytes;
      for (const space of this.#added) this.#spaces.delete(space);
      throw error;
    }
  }

  #insert({ key, space, tokens, value }: KeptPassage): void {
    const sum = checksum(key, space, tokens, value);
    const { changes } = this.#prepare(
      'INSERT INTO passages (key, space, tokens, sum, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING',
    ).run(key, this.#spaceId(space), tokens, sum, value);
    if (Number(changes) === 0) return;
    this.#entries++;
    this.#bytes += value.length;
  }

  #spaceId(space: string): number {
    const known = this.#spaces.get(space);
    if (known !== undefined) return known;
    const { lastInsertRowid } = this.#prepare('INSERT INTO spaces (name) VALUES (?)').run(space);
    this.#spaces.set(space, Number(lastInsertRowid));
    this.#added.add(space);
    return Number(lastInsertRowid);
  }

  #remove(which: string, ...values: readonly (number | bigint | Uint8Array)[]): void {
    const removed = this.#prepare(`DELETE FROM passages WHERE ${which} RETURNING length(value) AS size`).all(...values);
    for (const { size } of removed) {
      this.#entries--;
      this.#bytes -= numberIn(size);
    }
  }

  #dropOldest(): void {
    while (this.#bytes > this.#limitBytes && this.#entries > 0) {
      const [oldest] = this.#prepare('SELECT MIN(id) AS id FROM passages').all();
      if (typeof oldest?.id !== 'bigint') return;
      this.#remove('id = ?', oldest.id);
    }
  }
}

/** Returns the passage of a row; undefined where it is not what was written. */
function passageOf(row: Row, spaces: ReadonlyMap<number, string>): KeptPassage | undefined {
  const { key, value } = row;
  const space = spaces.get(numberIn(row.space));
  const tokens = numberIn(row.tokens);
  if (!(key instanceof Uint8Array && value instanceof Uint8Array) || key.length !== KEY_BYTES || space === undefined)
    return undefined;
  return numberIn(row.sum) === checksum(key, space, tokens, value) ? { key, space, tokens, value } : undefined;
}
