/** What a regular expression may cost on a text. */
export interface PatternCost {
  /** The least number of characters that it matches. */
  readonly shortest: number;
  /** Its time at worst grows with this power of the length of a text. */
  readonly degree: number;
}

/** A part of a pattern, as far as its cost depends on it. */
interface Shape {
  readonly shortest: number;
  /** Characters and groups, each repetition counted. */
  readonly size: number;
  /** Repetitions without a small limit. */
  readonly loops: number;
  /** Ways in which the bounded choices can be made. */
  readonly ways: number;
  /** Whether something can fail to match after the last loop. */
  readonly canFail: boolean;
}

const EMPTY: Shape = { shortest: 0, size: 0, loops: 0, ways: 1, canFail: false };
const CHARACTER: Shape = { shortest: 1, size: 1, loops: 0, ways: 1, canFail: true };

/** Longer patterns are refused, and those with more characters, ways or nested groups. */
const MAX_UNITS = 4096;
const MAX_SIZE = 4096;
const MAX_WAYS = 4096;
const MAX_DEPTH = 32;
/** A repetition with a wider range counts as a loop. */
const WIDEST_CHOICE = 16;

/**
 * Returns the cost of a pattern in the syntax of `tokenizer.json` (Oniguruma, as far as the library translates it).
 *
 * A backtracking engine is exponential only where a repetition is around another choice, so these are refused, with back references and rare
 * constructs. Of the rest, each loop that may be retried adds a power.
 * @throws Error that says what is not allowed.
 */
export function patternCost(pattern: string): PatternCost {
  if (pattern.length > MAX_UNITS) throw new Error(`more than ${MAX_UNITS} characters`);
  const reader = new PatternReader(pattern);
  const branches = reader.branches(0);
  if (!reader.atEnd) throw new Error('a closing parenthesis without its opening one');
  return {
    shortest: Math.min(...branches.map((branch) => branch.shortest)),
    degree: Math.max(...branches.map(({ loops, canFail }) => 1 + Math.max(0, canFail ? loops : loops - 1))),
  };
}

class PatternReader {
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  get atEnd(): boolean {
    return this.#at >= this.#pattern.length;
  }

  /** Reads alternatives up to a closing parenthesis or the end. */
  branches(depth: number): Shape[] {
    if (depth > MAX_DEPTH) throw new Error(`groups nested more than ${MAX_DEPTH} deep`);
    const found = [this.#sequence(depth)];
    while (this.#take('|')) found.push(this.#sequence(depth));
    return found;
  }

  #sequence(depth: number): Shape {
    let whole = EMPTY;
    while (!this.atEnd && !/[|)]/.test(this.#pattern[this.#at]!)) whole = joined(whole, this.#repeated(depth));
    return whole;
  }

  #repeated(depth: number): Shape {
    let shape = this.#atom(depth);
    for (let range = this.#quantifier(); range; range = this.#quantifier()) shape = repeated(shape, ...range);
    return shape;
  }

  /** Reads a quantifier with its lazy or possessive mark; a brace that is none is a character. */
  #quantifier(): [number, number] | undefined {
    const found = this.#match(/^(?:[*+?]|\{(\d*)(,?)(\d*)\})/);
    if (!found || found[0] === '{}' || found[0] === '{,}') {
      if (found) this.#at -= found[0].length;
      return undefined;
    }
    this.#match(/^[?+]/);
    if (found[0] === '*') return [0, Number.POSITIVE_INFINITY];
    if (found[0] === '+') return [1, Number.POSITIVE_INFINITY];
    if (found[0] === '?') return [0, 1];
    const least = Number(found[1]);
    const most = found[3] === '' ? (found[2] ? Number.POSITIVE_INFINITY : least) : Number(found[3]);
    return [least, most];
  }

  #atom(depth: number): Shape {
    if (this.#take('(')) return this.#group(depth);
    if (this.#take('[')) return this.#set(0);
    if (this.#take('\\')) return this.#escape();
    const isAnchor = /[\^$]/.test(this.#pattern[this.#at]!);
    this.#at += this.#pattern.codePointAt(this.#at)! > 0xffff ? 2 : 1;
    return isAnchor ? { ...CHARACTER, shortest: 0 } : CHARACTER;
  }

  #group(depth: number): Shape {
    if (this.#match(/^\?[a-z]*(?:-[a-z]+)?\)/)) return EMPTY;
    const head = this.#match(/^\?(?:[:=!]|<[=!]|<[A-Za-z_]\w*>|[a-z]*(?:-[a-z]+)?:)/);
    if (!head && this.#pattern[this.#at] === '?')
      throw new Error(`a group of a kind that is not known: (${this.#pattern.slice(this.#at, this.#at + 4)}`);
    const branches = this.branches(depth + 1);
    if (!this.#take(')')) throw new Error('a group without its closing parenthesis');
    const isLook = head !== undefined && /^\?<?[=!]/.test(head[0]);
    const loops = Math.max(...branches.map((branch) => branch.loops));
    return {
      shortest: isLook ? 0 : Math.min(...branches.map((branch) => branch.shortest)),
      size: branches.reduce((sum, { size }) => sum + size, 1),
      loops,
      ways: branches.reduce((sum, { ways }) => sum + ways, 0),
      canFail: isLook || branches.some((branch) => branch.canFail && (loops === 0 || branch.loops > 0)),
    };
  }

  /** Reads a character class, in which classes may be nested. */
  #set(depth: number): Shape {
    if (depth > MAX_DEPTH) throw new Error(`classes nested more than ${MAX_DEPTH} deep`);
    this.#take('^');
    // A bracket that comes first is a character.
    this.#take(']');
    while (!this.#take(']')) {
      if (this.atEnd) throw new Error('a class without its closing bracket');
      if (this.#match(/^\[:\^?\w+:\]/)) continue;
      if (this.#take('[')) this.#set(depth + 1);
      else this.#at += this.#pattern[this.#at] === '\\' ? 2 : 1;
    }
    return CHARACTER;
  }

  #escape(): Shape {
    if (this.atEnd) throw new Error('a backslash at the end');
    if (this.#match(/^(?:[1-9]|[kg][<{'])/)) throw new Error('a reference to a group');
    if (this.#match(/^[bBAzZG]/)) return { ...CHARACTER, shortest: 0 };
    if (this.#match(/^[RX]/)) throw new Error('\\R or \\X');
    if (!this.#match(/^(?:[pPxu]\{[^}]*\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|c[A-Za-z])/)) this.#at++;
    return CHARACTER;
  }

  #take(character: string): boolean {
    if (this.#pattern[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #match(expression: RegExp): RegExpExecArray | undefined {
    const found = expression.exec(this.#pattern.slice(this.#at));
    if (found) this.#at += found[0].length;
    return found ?? undefined;
  }
}

function joined(a: Shape, b: Shape): Shape {
  return bounded({
    shortest: a.shortest + b.shortest,
    size: a.size + b.size,
    loops: a.loops + b.loops,
    ways: a.ways * b.ways,
    canFail: b.loops > 0 ? b.canFail : a.canFail || b.canFail,
  });
}

function repeated(shape: Shape, least: number, most: number): Shape {
  if (most > 1 && (shape.loops > 0 || shape.ways > 1)) throw new Error('a repetition around another choice');
  const isLoop = most - least > WIDEST_CHOICE;
  return bounded({
    shortest: shape.shortest * least,
    size: shape.size * Math.max(1, Number.isFinite(most) ? most : least),
    loops: shape.loops + (isLoop ? 1 : 0),
    ways: isLoop ? shape.ways : shape.ways * Math.max(1, most - least + 1),
    canFail: shape.canFail && !isLoop && (least > 0 || shape.loops > 0),
  });
}

function bounded(shape: Shape): Shape {
  if (shape.size > MAX_SIZE) throw new Error(`more than ${MAX_SIZE} characters after repetition`);
  if (shape.ways > MAX_WAYS) throw new Error(`more than ${MAX_WAYS} ways to match`);
  return shape;
}
