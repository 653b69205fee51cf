/**
 * How an objective reads labels: as targets of single passages, from 0 to 1, or as relevant and not relevant. Others read grades, or none.
 */
export type LabelNeed = 'target' | 'binary';
