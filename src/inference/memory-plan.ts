/* How the memory of the process group is divided. The sizes are measured (docs/inference.md, *How is memory divided?*). */

const MIB = 2 ** 20;

/** The front process: its code, tokenizers, and bodies and answers of requests in flight. */
const FRONT_BYTES = 320 * MIB;
/** Pages of the program and the engine, which all processes share. Each counts them in its resident memory. */
const SHARED_BYTES = 72 * MIB;
/** What an inference host has for itself without weights, before its first batch. */
const FRESH_HOST_BYTES = 64 * MIB;
/** What it takes for each padded token of its largest batch. */
const TOKEN_BYTES = 32 * 1024;
/** Tokens of the largest batch, where nothing else is set (`scheduling.batchTokens`). */
const BATCH_TOKENS = 4096;
/** What weights take in memory, in times of their files: the engine stores some of them in another order, too. */
const WEIGHT_FACTOR = 1.25;

/** The memory that a host takes for itself: when it has loaded its models, and in batches. */
const freshBytes = (weightBytes: number) => FRESH_HOST_BYTES + WEIGHT_FACTOR * weightBytes;
const hostBytes = (weightBytes: number, batchTokens: number) => freshBytes(weightBytes) + TOKEN_BYTES * batchTokens;

/**
 * Returns how many hosts fit, of at most `most`; one more must be able to load its models beside them, for hosts are replaced. At least 1.
 * @param memoryBytes Memory of the process group.
 * @param weightBytes Files of the weights that every host loads.
 * @param batchTokens Padded tokens of the largest batch.
 */
export function hostsThatFit(
  most: number,
  memoryBytes: number,
  weightBytes: number,
  batchTokens = BATCH_TOKENS,
): number {
  const room = memoryBytes - FRONT_BYTES - SHARED_BYTES - freshBytes(weightBytes);
  // Unknown weights are infinite.
  return room <= 0 ? 1 : Math.max(1, Math.min(most, Math.floor(room / hostBytes(weightBytes, batchTokens))));
}

/** Memory of the passage cache where nothing is set: a part of all memory, at most so much. */
const PASSAGE_PART = 1 / 16;
const MOST_PASSAGE_BYTES = 1024 * MIB;

/** Returns the room for the weights of models on all hosts together. */
function modelRoom(hosts: number, memoryBytes: number, batchTokens: number): number {
  const taken = FRONT_BYTES + SHARED_BYTES + hosts * hostBytes(0, batchTokens) + FRESH_HOST_BYTES;
  return Math.max(0, Math.floor((memoryBytes - taken) / WEIGHT_FACTOR));
}

/**
 * Returns the memory of the passage cache where nothing is set: at most half of what front, hosts and a replacement leave, so that it changes
 * neither the number of hosts nor how they are replaced.
 * @param versions Room that it leaves for so many versions of the weights on every host, where there is room for them without it.
 */
export function defaultPassageBytes(
  hosts: number,
  memoryBytes: number,
  weightBytes: number,
  batchTokens = BATCH_TOKENS,
  versions = 0,
): number {
  const planned = FRONT_BYTES + SHARED_BYTES + hosts * hostBytes(weightBytes, batchTokens) + freshBytes(weightBytes);
  const beyond = WEIGHT_FACTOR * (modelRoom(hosts, memoryBytes, batchTokens) - versions * hosts * weightBytes);
  const left = Math.min(Math.max(0, memoryBytes - planned) / 2, beyond >= 0 ? beyond : Number.POSITIVE_INFINITY);
  const bytes = Math.floor(Math.min(PASSAGE_PART * memoryBytes, MOST_PASSAGE_BYTES, left));
  return bytes < MIB ? 0 : bytes;
}

/** Limits that keep a number of hosts within the memory of the process group. */
export interface MemoryLimits {
  /** Resident memory in bytes above which a host is replaced. */
  readonly hostBytes: number;
  /** Whether a replacement fits beside all hosts; if not, a host ends before its replacement starts. */
  readonly hasSpare: boolean;
  /** Whether all hosts fit at all. */
  readonly fits: boolean;
  /** Room for the weights of models on all hosts together, as they are counted when loaded. */
  readonly modelBytes: number;
}

/** Divides memory among hosts, so that their own limits act before the kernel ends processes. */
export function memoryLimits(
  hosts: number,
  memoryBytes: number,
  weightBytes: number,
  batchTokens = BATCH_TOKENS,
): MemoryLimits {
  const room = memoryBytes - FRONT_BYTES - SHARED_BYTES;
  const needed = hosts * hostBytes(weightBytes, batchTokens);
  const spare = room - freshBytes(weightBytes);
  const hasSpare = needed <= spare;
  return {
    hostBytes: SHARED_BYTES + Math.max(0, Math.floor((hasSpare ? spare : room) / hosts)),
    hasSpare,
    fits: needed <= room,
    modelBytes: modelRoom(hosts, memoryBytes, batchTokens),
  };
}
