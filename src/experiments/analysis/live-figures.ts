import type { Experiment } from '../definitions/definition.ts';
import { definitionHistory } from '../definitions/history.ts';
import type { ExperimentStore, ExposureFact, UnitRow } from '../records.ts';
import { ContentsCount } from './contents-count.ts';
import { type Figures, firstOf } from './figures.ts';
import { type Period, type PeriodReading, periodFrom, type Since } from './period.ts';
import { RatioPath } from './ratio-path.ts';
import { BEFORE_MS } from './report-data.ts';
import { Tally } from './tally.ts';
import { TrafficCount } from './traffic-count.ts';
import { NO_LOAD, type UnitLoad, withUnit } from './unit-warnings.ts';

/** The moments of fewer units are computed again at each read: it takes a millisecond. */
const FEW_UNITS = 2000;

/** Memory of a unit (measured with two metrics) and of a request's latency. */
const UNIT_BYTES = 400;
const LATENCY_BYTES = 8;

/** What was counted of an experiment so far. */
interface Counted {
  cursor: unknown;
  readonly contents: ContentsCount;
  /** Exposures before its begin, which never changes, are not in what follows. */
  period: Period;
  readonly rows: Map<string, UnitRow>;
  tally: Tally;
  /** Units taken out of `tally` and added again since it was made. */
  replaced: number;
  readonly traffic: TrafficCount;
  load: UnitLoad;
  /** The sample ratio; absent where it must be computed again. */
  path?: RatioPath | undefined;
  /** Definitions that `path` knows. */
  definitions: number;
}

/** Thrown where everything must be read again. */
class ReadAnew extends Error {}

/** The definitions that an experiment has had. */
type Definitions = Pick<PeriodReading, 'audits' | 'history'>;

/** There are more exposures than may be kept. */
export class TooLarge extends Error {}

/** The figures, and all units as they were read last. */
export interface LiveRead {
  readonly figures: Figures;
  readonly units: Iterable<UnitRow>;
}

/**
 * The figures of a split experiment, kept in memory: each read takes in only what was added since the last one. What a unit counts for is read
 * again from the database whenever the unit has a new exposure or outcome, so that there is one definition of it. Everything is read again
 * where rows were removed or the period begins at another time.
 */
export class LiveFigures {
  readonly #store: ExperimentStore;
  readonly #experiment: Experiment;
  readonly #since: Since | undefined;
  readonly #maxExposures: number;
  #counted: Counted | undefined;

  /** @param since as in a report. */
  constructor(store: ExperimentStore, experiment: Experiment, since: Since | undefined, maxExposures: number) {
    this.#store = store;
    this.#experiment = experiment;
    this.#since = since;
    this.#maxExposures = maxExposures;
  }

  /** Bytes in memory, about. */
  get bytes(): number {
    if (!this.#counted) return 0;
    return UNIT_BYTES * this.#counted.rows.size + LATENCY_BYTES * this.#counted.traffic.size;
  }

  /**
   * Takes in what was added. Calls must follow one another.
   * @returns nothing where everything must be read again: `readAll` does that.
   * @throws the database's error; then everything must be read again, too.
   */
  async readNew(): Promise<LiveRead | undefined> {
    const counted = this.#counted;
    this.#counted = undefined;
    if (!counted) return undefined;
    const definitions = await this.#definitions();
    try {
      await this.#update(counted, definitions.history);
    } catch (error) {
      if (error instanceof ReadAnew) return undefined;
      throw error;
    }
    return this.#settle(counted, definitions);
  }

  /** Reads everything. @throws TooLarge; the database's error; WinnowError `invalid_field` for a definition without exposures. */
  async readAll(): Promise<LiveRead> {
    this.#counted = undefined;
    const definitions = await this.#definitions();
    return this.#settle(await this.#start(definitions.history), definitions);
  }

  async #definitions(): Promise<Definitions> {
    const audits = await this.#store.audits(this.#experiment.name);
    return { audits, history: definitionHistory(audits, this.#experiment) };
  }

  #settle(counted: Counted, definitions: Definitions): LiveRead {
    const path = this.#currentPath(counted, definitions.history);
    this.#counted = counted;
    const { period, tally, load, traffic, rows } = counted;
    const figures = { ...definitions, period, tally, load, traffic: traffic.traffic(), ratioP: path.p };
    return { figures, units: rows.values() };
  }

  /** Returns the sample ratio of all units, computed again where it is out of date. */
  #currentPath(counted: Counted, history: Definitions['history']): RatioPath {
    if (counted.path && counted.definitions === history.size) return counted.path;
    const path = new RatioPath(this.#experiment, history);
    path.add([...counted.rows.values()].map(firstOf));
    counted.path = path;
    counted.definitions = history.size;
    return path;
  }

  #period(contents: ContentsCount, history: Definitions['history']): Period {
    return periodFrom(this.#experiment, contents.contents(), history, { since: this.#since });
  }

  async #start(history: Definitions['history']): Promise<Counted> {
    const { name } = this.#experiment;
    const contents = new ContentsCount();
    const exposures: (readonly ExposureFact[])[] = [];
    let count = 0;
    const { cursor } = await this.#store.changes(name, undefined, (page) => {
      contents.add(page);
      exposures.push(page);
      count += page.length;
      if (count > this.#maxExposures) throw new TooLarge();
    });
    const period = this.#period(contents, history);
    const { since } = period;
    const traffic = new TrafficCount(since);
    for (const page of exposures.splice(0)) traffic.add(page);
    const [rows, tally] = [new Map<string, UnitRow>(), new Tally(this.#experiment)];
    let load = NO_LOAD;
    for await (const row of this.#store.units(name, { since, beforeMs: BEFORE_MS })) {
      rows.set(row.unit, row);
      tally.add(row);
      load = withUnit(load, row);
    }
    return { cursor, contents, period, rows, tally, replaced: 0, traffic, load, definitions: 0 };
  }

  /** @throws ReadAnew. */
  async #update(counted: Counted, history: Definitions['history']): Promise<void> {
    const { name } = this.#experiment;
    const { rows, contents, traffic } = counted;
    const { since } = counted.period;
    const changes = await this.#store.changes(name, counted.cursor, (page) => {
      contents.add(page);
      traffic.add(page);
    });
    const period = this.#period(contents, history);
    if (changes.isReset || period.since !== since) throw new ReadAnew();
    counted.period = period;
    const added: UnitRow[] = [];
    const range = { since, beforeMs: BEFORE_MS, among: changes.units };
    for await (const row of this.#store.units(name, range)) {
      const before = rows.get(row.unit);
      if (before) {
        counted.tally.remove(before);
        counted.replaced++;
      } else added.push(row);
      counted.tally.add(row);
      rows.set(row.unit, row);
      counted.load = withUnit(counted.load, row, before);
      // An exposure that another server wrote late was before the first one known.
      if (before && (before.firstAt !== row.firstAt || before.firstArm !== row.firstArm)) counted.path = undefined;
    }
    counted.cursor = changes.cursor;
    this.#addAnew(counted);
    counted.path?.add(added.map(firstOf));
  }

  /** Computes the moments again from the rows, before the rounding errors of removals add up. */
  #addAnew(counted: Counted): void {
    const { rows, replaced } = counted;
    if (replaced === 0 || (rows.size > FEW_UNITS && replaced < rows.size)) return;
    counted.tally = new Tally(this.#experiment);
    counted.replaced = 0;
    // In the order of the database, so that few units give the same digits as reading them all.
    for (const row of [...rows.values()].sort((a, b) => (a.unit < b.unit ? -1 : 1))) counted.tally.add(row);
  }
}
