/** The three values of a unit: numerator, denominator (1 for plain means) and covariate. */
export const [NUMERATOR, DENOMINATOR, COVARIATE] = [0, 1, 2] as const;
const D = 3;

/**
 * Count, means and cross products of three values of each unit, in one pass and constant memory (Welford 1962, for vectors; removal is the
 * same update backwards). A unit's values are replaced by removing the old ones and adding the new ones.
 */
export class Moments {
  n = 0;
  readonly #mean = new Float64Array(D);
  /** Σ (x − mean)(x − mean)ᵀ, row by row. */
  readonly #cross = new Float64Array(D * D);
  readonly #distance = new Float64Array(D);

  add(y: number, x: number, c: number): void {
    this.#update(y, x, c, 1);
  }

  /** Removes a unit that was added with these values. */
  remove(y: number, x: number, c: number): void {
    if (this.n === 1) {
      this.n = 0;
      this.#mean.fill(0);
      this.#cross.fill(0);
    } else this.#update(y, x, c, -1);
  }

  /** Adds all units of other moments (Chan, Golub and LeVeque 1979). */
  absorb(other: Moments): void {
    if (other.n === 0) return;
    const n = this.n + other.n;
    const distance = this.#mean.map((mean, i) => other.#mean[i]! - mean);
    const weight = (this.n * other.n) / n;
    for (let i = 0; i < D; i++)
      for (let j = 0; j < D; j++)
        this.#cross[i * D + j]! += other.#cross[i * D + j]! + weight * distance[i]! * distance[j]!;
    for (let i = 0; i < D; i++) this.#mean[i]! += (other.n / n) * distance[i]!;
    this.n = n;
  }

  mean(i: number): number {
    return this.#mean[i]!;
  }

  /** Returns the unbiased covariance (n − 1); NaN below two units. */
  covariance(i: number, j: number): number {
    return this.n < 2 ? Number.NaN : this.#cross[i * D + j]! / (this.n - 1);
  }

  #update(y: number, x: number, c: number, sign: 1 | -1): void {
    const before = this.n;
    this.n += sign;
    const distance = this.#distance;
    distance[NUMERATOR] = y - this.#mean[NUMERATOR]!;
    distance[DENOMINATOR] = x - this.#mean[DENOMINATOR]!;
    distance[COVARIATE] = c - this.#mean[COVARIATE]!;
    // Adding to n units weighs the new one n / (n + 1), taking one of n out n / (n − 1).
    const weight = (sign * before) / this.n;
    for (let i = 0; i < D; i++)
      for (let j = 0; j < D; j++) this.#cross[i * D + j]! += weight * distance[i]! * distance[j]!;
    for (let i = 0; i < D; i++) this.#mean[i]! += (sign * distance[i]!) / this.n;
  }
}
