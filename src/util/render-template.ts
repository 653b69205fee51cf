import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { isObject } from './json-files.ts';

/*
 * Renders a chat template once, when a model is loaded. Templates come with models of others: they may only loop over messages, compare and
 * pick, and what they compute is bounded in steps and size.
 */

const MOST_SOURCE = 65_536;
const MOST_STEPS = 20_000;
const MOST_TEXT = 40_000;
const MOST_ITEMS = 1000;

const KINDS: ReadonlySet<string> = new Set([
  ...['Program', 'If', 'For', 'Set', 'Break', 'Continue', 'Comment', 'Ternary', 'Identifier', 'CallExpression'],
  ...['MemberExpression', 'SliceExpression', 'BinaryExpression', 'UnaryExpression', 'FilterExpression'],
  ...['TestExpression', 'SelectExpression', 'KeywordArgumentExpression', 'IntegerLiteral', 'FloatLiteral'],
  ...['StringLiteral', 'ArrayLiteral', 'TupleLiteral'],
]);
const FILTERS: ReadonlySet<string> = new Set([
  ...[
    'selectattr',
    'rejectattr',
    'map',
    'list',
    'first',
    'last',
    'default',
    'trim',
    'length',
    'count',
    'string',
    'join',
  ],
]);
const CALLS: ReadonlySet<string> = new Set([
  ...['namespace', 'raise_exception', 'strip', 'lstrip', 'rstrip', 'startswith', 'endswith', 'get', 'items', 'keys'],
]);

/** Why a template is not rendered. */
export class TemplateFault extends Error {}

/** What is used of the library's interpreter: its types do not reach TypeScript. */
interface Machine {
  evaluate(statement: unknown, environment: unknown): { readonly value: unknown };
  run(program: unknown): { readonly value: unknown };
}

/** Returns an interpreter that ends with a fault where it takes too many steps or something becomes too long. */
function boundedMachine(environment: unknown): Machine {
  const machine: Machine = new Interpreter(environment);
  const evaluate = machine.evaluate.bind(machine);
  let steps = 0;
  machine.evaluate = (statement, scope) => {
    if (++steps > MOST_STEPS) throw new TemplateFault(`more than ${MOST_STEPS} steps`);
    const found = evaluate(statement, scope);
    const { value } = found;
    if (typeof value === 'string' && value.length > MOST_TEXT)
      throw new TemplateFault(`a text of more than ${MOST_TEXT} characters`);
    if (Array.isArray(value) && value.length > MOST_ITEMS)
      throw new TemplateFault(`a list of more than ${MOST_ITEMS} items`);
    return found;
  };
  return machine;
}

/** Returns the name that a filter, a call or a method goes by. */
function nameOf(node: unknown): string {
  if (!isObject(node)) return '';
  if (node.type === 'Identifier') return String(node.value);
  return nameOf(node.type === 'CallExpression' ? node.callee : node.property);
}

/** Refuses what a template of a re-ranker has no need of: ranges, macros, methods that make long texts. */
function check(node: unknown): void {
  if (Array.isArray(node)) {
    node.forEach(check);
    return;
  }
  if (!isObject(node)) return;
  const { type } = node;
  if (typeof type === 'string' && !KINDS.has(type)) throw new TemplateFault(`a ${type}, which is not read`);
  if (type === 'FilterExpression') {
    if (!FILTERS.has(nameOf(node.filter)))
      throw new TemplateFault(`the filter ${nameOf(node.filter)}, which is not read`);
    // A filter with arguments looks like a call.
    check([node.operand, isObject(node.filter) ? node.filter.args : undefined]);
    return;
  }
  if (type === 'CallExpression' && !CALLS.has(nameOf(node)))
    throw new TemplateFault(`a call of ${nameOf(node)}, which is not read`);
  // Operators are no nodes.
  for (const [name, child] of Object.entries(node)) if (name !== 'operator') check(child);
}

/** Returns a function that renders a chat template as transformers does. @throws TemplateFault for one that is not read. */
export function compileTemplate(source: string): (variables: Readonly<Record<string, unknown>>) => string {
  if (source.length > MOST_SOURCE) throw new TemplateFault(`${source.length} characters`);
  const program = faultsOf(() => parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })));
  faultsOf(() => check(program));
  return (variables) =>
    faultsOf(() => {
      const environment = new Environment();
      const raise = (message: unknown) => {
        throw new TemplateFault(`its own error: ${String(message).slice(0, 200)}`);
      };
      const globals = { true: true, false: false, none: null, True: true, False: false, None: null };
      for (const [name, value] of Object.entries({ ...globals, raise_exception: raise, ...variables }))
        environment.set(name, value);
      return String(boundedMachine(environment).run(program).value);
    });
}

/** Runs `work`; what the library throws, also where the stack ends, becomes a fault. */
function faultsOf<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof TemplateFault) throw error;
    throw new TemplateFault((error as Error).message.slice(0, 200));
  }
}
