import type { TopLevelSpec } from 'vega-lite';
import { standaloneSvg } from '../../src/reports/charts/vega.ts';
import { median, table } from '../load/figures.ts';
import { type Cell, labelOf, RATES, type Took } from './cells.ts';
import type { System } from './systems.ts';

export interface Measured {
  readonly systems: readonly System[];
  /** One value a round, by `labelOf` of the cell. */
  readonly took: ReadonlyMap<string, readonly Took[]>;
  /** Milliseconds to tokenize and encode all passages by the engine, without a cache; one value a round, by name. */
  readonly encoding: ReadonlyMap<string, readonly number[]>;
  /** Memory of a kept passage in bytes, by name. */
  readonly bytes: ReadonlyMap<string, number>;
}

export class Report {
  readonly #measured: Measured;

  constructor(measured: Measured) {
    this.#measured = measured;
  }

  /** Returns the median over rounds of the milliseconds of a cell. */
  ms(cell: Cell): number {
    return median(this.#rounds(cell).map(({ ms }) => ms));
  }

  /** Returns how many times as long another model takes as a cell, the median over rounds; NaN without such a model. */
  ratio(cell: Cell, kind: 'float32' | 'int8'): number {
    const system = this.#measured.systems.find((one) => one.kind === kind);
    if (!system) return Number.NaN;
    const others = this.#rounds({ system, rate: 0, way: cell.way });
    return median(this.#rounds(cell).map(({ ms }, round) => others[round]!.ms / ms));
  }

  /** Returns the hit rate from which on a model is faster than another: costs are linear in the hit rate. */
  breakEven(system: System, kind: 'float32' | 'int8'): number {
    const other = this.#measured.systems.find((one) => one.kind === kind);
    if (!other) return Number.NaN;
    const [miss, hit] = [0, 1].map((rate) => this.ms({ system, rate, way: 'engine' })) as [number, number];
    const limit = this.ms({ system: other, rate: 0, way: 'engine' });
    return Math.min(1, Math.max(0, 1 - (limit - hit) / (miss - hit)));
  }

  /** Returns how many times as long a request without hits takes as encoding its passages. */
  missRatio(system: System): number {
    const encoding = this.#measured.encoding.get(system.name);
    const misses = this.#rounds({ system, rate: 0, way: 'engine' });
    return encoding ? median(misses.map(({ ms }, round) => ms / encoding[round]!)) : Number.NaN;
  }

  times(): string {
    const rows = this.#measured.systems.flatMap((system) =>
      (system.kind === 'kept' ? RATES : [0]).map((rate) => {
        const ways = (['engine', 'http'] as const).flatMap((way) => {
          const cell = { system, rate, way };
          return [
            this.ms(cell).toFixed(1),
            shown(this.ratio(cell, 'float32'), 'x'),
            shown(this.ratio(cell, 'int8'), 'x'),
          ];
        });
        const cell = { system, rate, way: 'engine' } as const;
        const cpu = [this.#cpuMs(cell).toFixed(0), shown(this.#cpuRatio(cell), 'x')];
        return [system.name, system.kind === 'kept' ? String(rate) : '–', ...ways, ...cpu];
      }),
    );
    const head = [
      'model',
      'hit rate',
      'ms',
      '÷ float32',
      '÷ int8',
      'HTTP ms',
      '÷ float32',
      '÷ int8',
      'CPU ms',
      '÷ float32',
    ];
    return table(head, rows);
  }

  passages(): string {
    const rows = this.#kept().map((system) => [
      system.name,
      shown(this.#measured.bytes.get(system.name) ?? Number.NaN, ' B', 0),
      shown(this.breakEven(system, 'float32')),
      shown(this.breakEven(system, 'int8')),
      shown(this.missRatio(system), 'x'),
    ]);
    const head = ['model', 'memory a passage', 'break-even with float32', 'with int8', 'misses ÷ encoding alone'];
    return table(head, rows);
  }

  targets(): string {
    const first = this.#kept().find(({ top }) => top === 0);
    const third = this.#kept().find(({ top }) => top === 3);
    const row = (what: string, seen: number, asked: number, most = false): string[] => {
      const met = Number.isNaN(seen) ? 'not measured' : (most ? seen <= asked : seen >= asked) ? 'yes' : 'no';
      return [what, shown(seen, 'x'), `${most ? '≤' : '≥'} ${asked}x`, met];
    };
    const hit = (system: System | undefined, way: Cell['way'], kind: 'float32' | 'int8') =>
      system ? this.ratio({ system, rate: 1, way }, kind) : Number.NaN;
    return table(
      ['target', 'seen', 'asked', 'met'],
      [
        row('k = 0, hits, float32 L6 ÷ it', hit(first, 'engine', 'float32'), 30),
        row('k = 0, hits, through HTTP', hit(first, 'http', 'float32'), 10),
        row('top 3, hits, float32 L6 ÷ it', hit(third, 'engine', 'float32'), 9),
        row('top 3, hits, int8 L6 ÷ it', hit(third, 'engine', 'int8'), 3),
        ...this.#kept().map((system) => row(`${system.name}, misses ÷ encoding`, this.missRatio(system), 1.1, true)),
      ],
    );
  }

  /** Draws the time of a request by hit rate, one line a model. */
  picture(): Promise<string> {
    const values = this.#measured.systems.flatMap((system) =>
      RATES.map((rate) => ({
        name: system.name,
        rate,
        ms: this.ms({ system, rate: system.kind === 'kept' ? rate : 0, way: 'engine' }),
      })),
    );
    const spec: TopLevelSpec = {
      width: 640,
      height: 260,
      data: { values },
      mark: { type: 'line', point: true },
      encoding: {
        x: { field: 'rate', type: 'quantitative', title: 'part of the passages that are kept' },
        y: { field: 'ms', type: 'quantitative', title: 'milliseconds', scale: { type: 'log' } },
        color: { field: 'name', type: 'nominal', sort: null, title: null },
      },
    };
    return standaloneSvg(spec);
  }

  #cpuMs(cell: Cell): number {
    return median(this.#rounds(cell).map(({ cpuMs }) => cpuMs));
  }

  /** As `ratio` with the float32 model, by processor time, which other programs disturb less. */
  #cpuRatio(cell: Cell): number {
    const system = this.#measured.systems.find(({ kind }) => kind === 'float32');
    return system ? this.#cpuMs({ system, rate: 0, way: 'engine' }) / this.#cpuMs(cell) : Number.NaN;
  }

  #kept(): readonly System[] {
    return this.#measured.systems.filter(({ kind }) => kind === 'kept');
  }

  #rounds(cell: Cell): readonly Took[] {
    return this.#measured.took.get(labelOf(cell)) ?? [];
  }
}

const shown = (value: number, unit = '', digits = 2): string =>
  Number.isNaN(value) ? '–' : `${value.toFixed(digits)}${unit}`;
