/** A report as plain values, independent of its output format: renderers exist for a terminal, Markdown, HTML and JSON. */
export interface ReportModel {
  readonly title: string;
  /** One or two sentences under the title. */
  readonly summary?: string | undefined;
  readonly sections: readonly Section[];
  /** Results for programs that read the JSON; not drawn. */
  readonly data?: unknown;
}

/** A property of a value that renderers mark. */
export type Mark = 'best' | 'rowBest' | 'better' | 'worse' | 'seen';

export interface Cell {
  readonly text: string;
  readonly marks?: readonly Mark[] | undefined;
}

export interface Column {
  readonly label: string;
  /** Numeric columns are right-aligned, others left. */
  readonly numeric?: boolean | undefined;
}

interface Titled {
  readonly title: string;
  /** A sentence under the figure or table. */
  readonly note?: string | undefined;
}

interface TextSection extends Titled {
  readonly kind: 'text';
  readonly paragraphs: readonly string[];
}

export interface TableSection extends Titled {
  readonly kind: 'table';
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

/** One value a row and column; several panels share rows, columns and colors. */
export interface HeatmapSection extends Titled {
  readonly kind: 'heatmap';
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly digits: number;
  readonly panels: readonly { readonly title: string; readonly values: readonly (readonly (number | null)[])[] }[];
}

/** Friedman's test with Nemenyi's critical difference. */
export interface RanksSection extends Titled {
  readonly kind: 'ranks';
  readonly treatments: readonly { readonly name: string; readonly rank: number }[];
  readonly criticalDifference: number;
  readonly alpha: number;
  readonly blocks: number;
  readonly statistic: number;
  readonly df: number;
  readonly p: number;
}

export interface BarsSection extends Titled {
  readonly kind: 'bars';
  readonly measure: string;
  readonly digits: number;
  readonly groups: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
}

export interface Axis {
  readonly label: string;
  readonly logarithmic?: boolean | undefined;
}

/** Effectiveness against latency, or any two values of systems. */
export interface ScatterSection extends Titled {
  readonly kind: 'scatter';
  readonly x: Axis;
  readonly y: Axis;
  readonly points: readonly { readonly name: string; readonly x: number; readonly y: number }[];
}

/** Lines of points in order: a cascade's effectiveness as more is kept. */
export interface CurveSection extends Titled {
  readonly kind: 'curve';
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: readonly {
    readonly name: string;
    readonly points: readonly { readonly x: number; readonly y: number; readonly label?: string | undefined }[];
  }[];
}

export interface MovedPassage {
  readonly docid: string;
  /** Judged grade; absent for an unjudged passage. */
  readonly grade?: number | undefined;
  /** Ranks from 1 in the baseline's and in the system's list; absent if the passage is not in the list. */
  readonly before?: number | undefined;
  readonly after?: number | undefined;
  readonly text: string;
}

/** Queries on which a system differs from a baseline, with the passages that moved. */
export interface DifferencesSection extends Titled {
  readonly kind: 'differences';
  readonly measure: string;
  readonly baseline: string;
  readonly system: string;
  /** The difference of every query, for the overview. */
  readonly all: readonly number[];
  /** The queries shown in full. */
  readonly queries: readonly {
    readonly qid: string;
    readonly text: string;
    readonly before: number;
    readonly after: number;
    readonly passages: readonly MovedPassage[];
  }[];
}

/** A drawing in a file of its own beside the report. */
export interface ImageSection extends Titled {
  readonly kind: 'image';
  /** Path relative to the report. */
  readonly file: string;
  /** Text in place of the drawing. */
  readonly alt: string;
}

export type Section =
  | TextSection
  | TableSection
  | HeatmapSection
  | RanksSection
  | BarsSection
  | ScatterSection
  | CurveSection
  | DifferencesSection
  | ImageSection;

type SectionKind = Section['kind'];
type SectionOf<K extends SectionKind> = Extract<Section, { kind: K }>;

/** One renderer for every kind of section; a missing one is a compile error. */
export type SectionRenderers<T> = { readonly [K in SectionKind]: (section: SectionOf<K>) => T };

/** Renders a section by its kind. */
export function renderSection<T>(renderers: SectionRenderers<T>, section: Section): T {
  return (renderers[section.kind] as (section: Section) => T)(section);
}
