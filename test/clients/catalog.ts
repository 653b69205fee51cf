/** What is installed for a client; the first package is the client itself, whose version the report states. */
export type Packages =
  | { readonly language: 'python'; readonly packages: readonly [string, ...string[]] }
  | { readonly language: 'java'; readonly packages: readonly [string] }
  | { readonly language: 'go'; readonly packages: readonly [string] };

export type Client = Packages & {
  readonly name: string;
  /** File of `test/clients/LANGUAGE/`; none for a client that no registry served when the drivers were written. */
  readonly driver: string | undefined;
};

const python = (name: string, driver: string, ...packages: readonly [string, ...string[]]): Client => {
  return { name, driver: `${driver}.py`, language: 'python', packages };
};
const java = (name: string, driver: string, artifact: string): Client => {
  return { name, driver: `${driver}.java`, language: 'java', packages: [artifact] };
};

/** Every client that the driver runs, with the versions it was tried with. */
export const CLIENTS: readonly Client[] = [
  python('cohere', 'drive_cohere', 'cohere==7.3.1'),
  python('voyageai', 'drive_voyageai', 'voyageai==0.5.0'),
  python('infinity_client', 'drive_infinity', 'infinity-client==0.0.78'),
  python('LiteLLM', 'drive_litellm', 'litellm==1.110.2'),
  python(
    'LangChain',
    'drive_langchain',
    'langchain-nvidia-ai-endpoints==1.5.0',
    'langchain-community==0.4.2',
    'infinity-client==0.0.78',
    'langchain-cohere==0.6.0',
    'langchain-voyageai==0.4.1',
  ),
  python('Agno', 'drive_agno', 'agno==3.0.5', 'infinity-client==0.0.78', 'cohere==7.3.1'),
  python(
    'LlamaIndex',
    'drive_llama_index',
    'llama-index-postprocessor-cohere-rerank==0.10.0',
    'llama-index-postprocessor-jinaai-rerank==0.6.0',
    'llama-index-postprocessor-voyageai-rerank==0.6.0',
    'llama-index-postprocessor-nvidia-rerank==0.7.0',
    'llama-index-postprocessor-tei-rerank==0.6.0',
    'llama-index-postprocessor-mixedbreadai-rerank==0.7.0',
    'llama-index-postprocessor-xinference-rerank==0.5.0',
  ),
  python(
    'Haystack',
    'drive_haystack',
    'cohere-haystack==11.0.0',
    'jina-haystack==2.0.1',
    'nvidia-haystack==3.0.0',
    'huggingface-api-haystack==3.1.0',
    'voyage-embedders-haystack==3.0.0',
  ),
  python('rerankers', 'drive_rerankers', 'rerankers==0.10.0', 'requests'),
  python('mixedbread', 'drive_mixedbread', 'mixedbread==0.54.0'),
  python('mixedbread-ai', 'drive_mixedbread_ai', 'mixedbread-ai==2.2.6'),
  python('Pinecone', 'drive_pinecone', 'pinecone==10.2.0'),
  python('tei-client', 'drive_tei_client', 'tei-client==0.2.4'),
  python('tritonclient', 'drive_triton', 'tritonclient[http]==2.73.0'),
  python('KServe', 'drive_kserve', 'kserve==0.21.0'),
  java('LangChain4j Cohere', 'DriveCohere', 'dev.langchain4j:langchain4j-cohere:1.11.0-beta19'),
  java('LangChain4j Jina', 'DriveJina', 'dev.langchain4j:langchain4j-jina:1.10.0-beta18'),
  java('LangChain4j Voyage', 'DriveVoyage', 'dev.langchain4j:langchain4j-voyage-ai:1.15.0-beta25'),
  { name: 'cohere-go', driver: 'cohere.go', language: 'go', packages: ['github.com/cohere-ai/cohere-go/v2@v2.15.3'] },
  { name: 'tei-go', driver: undefined, language: 'go', packages: ['github.com/gage-technologies/tei-go@latest'] },
];
