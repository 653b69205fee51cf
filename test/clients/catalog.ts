/** How a client gets onto this machine; the first package is the client, whose version the report states. */
export type Packages =
  | { readonly language: 'python'; readonly packages: readonly [string, ...string[]] }
  | { readonly language: 'java'; readonly packages: readonly [string] }
  | { readonly language: 'go'; readonly packages: readonly [string] };

export type Client = Packages & {
  readonly name: string;
  /** File of `test/clients/LANGUAGE/`. */
  readonly driver: string;
};

const python = (name: string, driver: string, ...packages: readonly [string, ...string[]]): Client => {
  return { name, driver: `${driver}.py`, language: 'python', packages };
};
/** Every client that the driver runs, with the versions it was tried with. */
export const CLIENTS: readonly Client[] = [
  python('cohere', 'drive_cohere', 'cohere==7.3.1'),
  python('voyageai', 'drive_voyageai', 'voyageai==0.5.0'),
  python('infinity_client', 'drive_infinity', 'infinity-client==0.0.78'),
  python('LiteLLM', 'drive_litellm', 'litellm==1.110.2'),
];
