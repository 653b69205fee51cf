/** One statement of the documentation, and what was seen. */
export interface Result {
  readonly claim: string;
  readonly seen: string;
  readonly passed: boolean;
}
