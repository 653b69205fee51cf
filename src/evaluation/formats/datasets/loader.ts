import type { Dataset, DatasetSpec } from '../dataset.ts';
import type { Place } from './folder.ts';

/** What a loader reads; name and rules are added by the caller. */
export type Loaded = Pick<Dataset, 'queries' | 'qrels' | 'passages' | 'files'> & Partial<Pick<Dataset, 'candidates'>>;

/** One layout of a data set on disk. */
export interface Loader {
  /** Named where no loader knows the folder. */
  readonly shape: string;
  readonly detect: (place: Place) => boolean;
  readonly load: (place: Place, spec: DatasetSpec) => Promise<Loaded>;
}
