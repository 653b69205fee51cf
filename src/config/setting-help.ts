import { type Setting, settings, shownDefault } from './setting-list.ts';

const TITLES: Readonly<Record<string, string>> = {
  server: 'HTTP server',
  auth: 'API keys and rate limit',
  registry: 'Models',
  inference: 'Inference hosts',
  tokenization: 'Tokenization',
  scheduling: 'Batches and queue',
  scoreCache: 'Score cache',
  cache: 'Passage cache',
  experiments: 'Experiments',
  telemetry: 'Logs and traces',
};

function bySection(): Map<string, Setting[]> {
  return Map.groupBy(settings(), ({ section }) => section);
}

function helpOf(setting: Setting): string {
  const flags = [setting.flag, ...setting.aliases.filter((a) => a.startsWith('-'))].join(', ');
  const variables = [setting.env, ...setting.aliases.filter((a) => !a.startsWith('-'))].join(', ');
  return `  ${flags}\n      ${setting.description}\n      ${variables}; ${setting.kind}; default ${shownDefault(setting)}`;
}

/** Returns the text of `winnow serve --help`: every setting by section, with flags, variables, values and default. */
export function settingsHelp(): string {
  const groups = [...bySection()].map(
    ([section, members]) => `${TITLES[section] ?? section}\n${members.map(helpOf).join('\n')}`,
  );
  return `Usage: npx winnow serve [flags]     (the same as: npm start -- [flags])

Serves the models of a registry folder over HTTP. A setting is looked up as a flag, then in the environment, then in the
YAML file of --config FILE (or WINNOW_CONFIG), under section.key.

Examples:
  $ npx winnow serve                                                the models of the folder models
  $ npx winnow serve --model cross-encoder/ettin-reranker-17m-v1    a model of the hub, imported at the first start
  $ npx winnow serve --model org/name@v2 --model ./my-export        a revision of one, and a folder as it is
  $ HF_HUB_OFFLINE=1 npx winnow serve --model org/name              the same without the network

  --config FILE
      YAML file of settings.
  --print-config
      Print the settings in effect and exit; secrets stay hidden.
  --help
      Print this and exit.

${groups.join('\n\n')}
`;
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

/** Returns the page docs/configuration.md. */
export function settingsMarkdown(): string {
  const sections = [...bySection()].map(([section, members]) => {
    const rows = members.map((setting) => {
      const others = setting.aliases.map((a) => `, \`${a}\``).join('');
      const shown = shownDefault(setting);
      return `| \`${setting.path}\` | \`${setting.env}\`, \`${setting.flag}\`${others} | ${shown === 'unset' ? 'unset' : `\`${shown}\``} | ${cell(setting.description)} Takes ${cell(setting.kind)}. |`;
    });
    return `## ${TITLES[section] ?? section}\n\n| in the file | variable, flags | default | |\n|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  return `# Settings of \`winnow serve\`

\`\`\`sh
WINNOW_SCHEDULING_MAX_WAIT_MS=2000 npm start --silent -- --port 9000 --print-config | grep -E ' (port|maxWaitMs):'
\`\`\`

\`\`\`
  port: 9000
  maxWaitMs: 2000
\`\`\`

The same in a file, for \`--config FILE\` or \`WINNOW_CONFIG\`:

\`\`\`yaml
server:
  port: 9000
scheduling:
  maxWaitMs: 2000
\`\`\`

A flag overrides a variable, a variable overrides the file, and the file overrides the default. \`npm start -- --help\` prints this list,
\`npm start -- --print-config\` the settings in effect, without secrets.

\`\`\`sh
npm start --silent -- --prt 9000 --server-max-passages many
\`\`\`

\`\`\`
winnow: the configuration has 2 fault(s):
  - --prt: expected a known flag, got an unknown one; did you mean --port?
  - --server-max-passages: expected an integer from 1 to 10 000, got "many" (string)
\`\`\`

An unknown flag, an unknown key in the file and an unknown variable of a section are errors. All errors are reported together before anything
starts, each with its place. Empty variables count as unset. Sizes may have a unit (\`64MiB\`). Lists in variables and flags are separated by
commas. Relative paths start at the working directory.

Keys of the file may also be written in kebab-case (\`max-wait-ms\`); a key in both spellings is an error. Values are in kebab-case. Old
spellings of values, such as \`longest_first\`, still work and print a line on standard error.

${sections.join('\n')}`;
}
