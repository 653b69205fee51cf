import type { Dataset, DatasetSpec } from '../dataset.ts';
import type { Place } from './dataset-folder.ts';

/** What a loader returns; the caller adds name and rules. */
export type Loaded = Pick<Dataset, 'queries' | 'qrels' | 'passages' | 'files'> & Partial<Pick<Dataset, 'candidates'>>;

/** One layout of a data set on disk. */
export interface Loader {
  /** Description of the layout, listed in the error for a folder that no loader detects. */
  readonly shape: string;
  readonly detect: (place: Place) => boolean;
  readonly load: (place: Place, spec: DatasetSpec) => Promise<Loaded>;
}
