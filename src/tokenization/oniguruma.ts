/**
 * Translation of regular expressions from Oniguruma's syntax, which the Rust library reads, to JavaScript's (flag v). Classes get the same
 * members where the two read a name differently: `\s`, `\w`, `\d` and `\b` are Unicode's, `.` matches all but a line feed, `^` and `$`
 * stand at every line.
 */
const WORD_IN_CLASS = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}`;
/** Oniguruma takes ², ³, ¹, ¼, ½ and ¾ for word characters too, but not inside of classes. */
const WORD = String.raw`${WORD_IN_CLASS}\xb2\xb3\xb9\xbc-\xbe`;
const [BEFORE_WORD, AFTER_WORD] = [`(?=[${WORD}])`, `(?<=[${WORD}])`];
const [NOT_BEFORE, NOT_AFTER] = [`(?![${WORD}])`, `(?<![${WORD}])`];

const ESCAPES: Readonly<Record<string, string>> = {
  s: String.raw`\p{White_Space}`,
  S: String.raw`\P{White_Space}`,
  d: String.raw`\p{Nd}`,
  D: String.raw`\P{Nd}`,
  w: `[${WORD}]`,
  W: `[^${WORD}]`,
  h: '[0-9a-fA-F]',
  H: '[^0-9a-fA-F]',
  R: String.raw`(?:\r\n|[\n-\r\x85\u2028\u2029])`,
  A: '(?<![^])',
  z: '(?![^])',
  Z: String.raw`(?=\n?(?![^]))`,
  G: '',
  a: String.raw`\x07`,
  e: String.raw`\x1b`,
  b: `(?:${NOT_AFTER}${BEFORE_WORD}|${AFTER_WORD}${NOT_BEFORE})`,
  B: `(?:${NOT_AFTER}${NOT_BEFORE}|${AFTER_WORD}${BEFORE_WORD})`,
};

const POSIX: Readonly<Record<string, string>> = {
  alnum: String.raw`\p{Alphabetic}\p{Nd}`,
  alpha: String.raw`\p{Alphabetic}`,
  ascii: String.raw`\x00-\x7f`,
  blank: String.raw`\p{Zs}\t`,
  cntrl: String.raw`\p{Cc}`,
  digit: String.raw`\p{Nd}`,
  graph: String.raw`[[^\p{White_Space}]--[\p{Cc}\p{Cn}\p{Cs}]]`,
  lower: String.raw`\p{Lowercase}`,
  print: String.raw`[[^\p{Cc}\p{Cn}\p{Cs}]]`,
  punct: String.raw`\p{P}\p{S}`,
  space: String.raw`\p{White_Space}`,
  upper: String.raw`\p{Uppercase}`,
  word: WORD_IN_CLASS,
  xdigit: '0-9a-fA-F',
};

/** Characters that flag v reserves inside a class, alone or doubled. */
const RESERVED_IN_CLASS = /[()[\]{}/\-|&!#$%*+,.:;<=>?@^`~]/;

/**
 * Returns the JavaScript form of an Oniguruma pattern.
 * @throws SyntaxError for what JavaScript cannot say.
 */
export function translated(pattern: string): RegExp {
  return new RegExp(new Translator(pattern).pattern(), 'gv');
}

class Translator {
  readonly #source: string;
  #at = 0;
  /** For the pattern and each open group, whether letters match in both cases. */
  readonly #anyCase = [false];

  constructor(source: string) {
    this.#source = source;
  }

  pattern(): string {
    let result = '';
    while (this.#at < this.#source.length) {
      const options = /^\(\?(-?)i([:)])/.exec(this.#source.slice(this.#at, this.#at + 8));
      if (!options) result += this.#element();
      else {
        this.#at += options[0].length;
        // Options without a colon hold up to the end of the group around them.
        if (options[2] === ')') this.#anyCase.pop();
        else result += '(?:';
        this.#anyCase.push(options[1] === '');
      }
    }
    return result;
  }

  #element(): string {
    const character = this.#next();
    if (character === '\\') return this.#escape();
    if (character === '[') return this.#class();
    if (character === '.') return String.raw`[^\n]`;
    if (character === '^') return String.raw`(?<![^\n])`;
    if (character === '$') return String.raw`(?![^\n])`;
    if (character === '{') return this.#brace();
    if (character === '(') return this.#group();
    if (character === ')') this.#anyCase.pop();
    if (/[)|*+?]/.test(character)) return character;
    return this.#inCase(character);
  }

  /** Reads what follows the bracket of a group up to its content, so that letters of a name or an option are no text. */
  #group(): string {
    this.#anyCase.push(this.#anyCase.at(-1)!);
    const [start] = /^(?:\?(?:[:=!]|<[=!]|<[A-Za-z_]\w*>))?/.exec(this.#source.slice(this.#at))!;
    this.#at += start.length;
    if (start === '' && this.#source[this.#at] === '?') throw new SyntaxError('a group of an unknown kind');
    return `(${start}`;
  }

  /**
   * Returns a character as text of a pattern, in both cases where an option says so. The modifiers of JavaScript are not used: in V8 they
   * also change the alternatives behind their group.
   */
  #inCase(character: string): string {
    const others = this.#anyCase.at(-1) === true ? otherCases(literal(character)) : [];
    return others.length === 0 ? literal(character) : `[${literal(character)}${others.map(literal).join('')}]`;
  }

  /** Reads what follows `{`: a number of repetitions, or the character itself. */
  #brace(): string {
    const [all, least, comma, most] = /^(\d*)(,?)(\d*)\}/.exec(this.#source.slice(this.#at, this.#at + 24)) ?? [];
    if (all === undefined || (least === '' && most === '')) return '\\{';
    this.#at += all.length;
    return `{${least || '0'}${comma}${most}}`;
  }

  #next(): string {
    const character = String.fromCodePoint(this.#source.codePointAt(this.#at)!);
    this.#at += character.length;
    return character;
  }

  /** Reads an escape after its backslash; the same text may stand in a class unless it is an assertion. */
  #escape(): string {
    if (this.#at >= this.#source.length) throw new SyntaxError('a backslash at the end of a pattern');
    const character = this.#next();
    const known = ESCAPES[character];
    if (known !== undefined) return known;
    if (character === 'p' || character === 'P') return this.#property(character === 'P');
    if (character === 'x') return this.#hexadecimal();
    if (/[0-9]/.test(character)) return `\\${character === '0' ? 'x00' : character}`;
    if (/[tnrfvkuc]/.test(character)) return `\\${character}`;
    return this.#inCase(character);
  }

  /** Reads `{Name}` or `{^Name}`. Names are looked up as general categories and scripts. */
  #property(negated: boolean): string {
    const [all, caret, name] = /^\{(\^?)([^}]+)\}/.exec(this.#source.slice(this.#at, this.#at + 64)) ?? [];
    if (all === undefined || name === undefined) throw new SyntaxError('a property without name');
    this.#at += all.length;
    const isNegated = negated !== (caret === '^');
    const posix = POSIX[name.toLowerCase()];
    if (posix !== undefined) return `[${isNegated ? '^' : ''}${posix}]`;
    for (const form of [name, `Script=${name}`]) {
      const property = `\\${isNegated ? 'P' : 'p'}{${form}}`;
      try {
        new RegExp(property, 'v');
        return property;
      } catch {}
    }
    throw new SyntaxError(`an unknown property: ${name}`);
  }

  #hexadecimal(): string {
    const [all, braced, plain] =
      /^(?:\{([0-9a-fA-F]{1,8})\}|([0-9a-fA-F]{1,2}))/.exec(this.#source.slice(this.#at)) ?? [];
    const digits = braced ?? plain;
    if (all === undefined || digits === undefined) throw new SyntaxError('\\x without digits');
    this.#at += all.length;
    return `\\u{${digits}}`;
  }

  /** Reads a class after its opening bracket. */
  #class(): string {
    let result = '[';
    if (this.#source[this.#at] === '^') result += this.#next();
    for (let [isFirst, canRange] = [true, false]; ; isFirst = false) {
      if (this.#at >= this.#source.length) throw new SyntaxError('a class without end');
      const rest = this.#source.slice(this.#at, this.#at + 16);
      const posix = /^\[:(\^?)(\w+):\]/.exec(rest);
      const character = this.#next();
      if (character === ']' && !isFirst) return this.#classInCase(`${result}]`);
      if (rest.startsWith('&&')) throw new SyntaxError('an intersection of classes');
      // A hyphen between two single characters makes a range.
      const isRange = canRange && /^-(?![\][]|\\[sSdDwWhHpPR])/.test(rest) && rest.length > 1;
      canRange = !isRange && !posix && !/^(?:\[|\\[sSdDwWhHpPR])/.test(rest);
      if (isRange) result += '-';
      else if (posix) result += this.#posix(posix);
      else if (character === '[') result += this.#class();
      else if (character === '\\') result += this.#source[this.#at] === 'b' ? this.#backspace() : this.#escapeInClass();
      else result += literal(character);
    }
  }

  /** Adds the other cases of a class's members where an option says so. */
  #classInCase(read: string): string {
    if (this.#anyCase.at(-1) !== true) return read;
    return `${read.slice(0, -1)}${otherCases(read.replace('[^', '[')).map(literal).join('')}]`;
  }

  #posix([all, caret, name]: RegExpExecArray): string {
    const members = POSIX[name!.toLowerCase()];
    if (members === undefined) throw new SyntaxError(`an unknown class: ${name}`);
    this.#at += all.length - 1;
    return `[${caret}${members}]`;
  }

  #escapeInClass(): string {
    const [word] = /^[wW]/.exec(this.#source.slice(this.#at)) ?? [];
    if (word !== undefined) {
      this.#at++;
      return `[${word === 'W' ? '^' : ''}${WORD_IN_CLASS}]`;
    }
    // The class as a whole gets the other cases of its members.
    this.#anyCase.push(false);
    const read = this.#escape();
    this.#anyCase.pop();
    return read;
  }

  #backspace(): string {
    this.#at++;
    return String.raw`\x08`;
  }
}

let cased: readonly string[] | undefined;

/** Returns the letters outside of a class that differ from one of its members by case alone. */
function otherCases(members: string): string[] {
  cased ??= Array.from({ length: 0x1e944 }, (_, c) => String.fromCodePoint(c)).filter((c) => /\p{Cased}/u.test(c));
  const [exact, any] = [new RegExp(members, 'v'), new RegExp(members, 'iv')];
  return cased.filter((c) => any.test(c) && !exact.test(c));
}

/** Returns a character as text of a pattern, inside and outside of classes. */
function literal(character: string): string {
  if (RESERVED_IN_CLASS.test(character) || character === '\\')
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  return character;
}
