/** What probes are answered by. A reason is set where its fact is false. */
export interface ProbeState {
  readonly live: boolean;
  readonly notLiveReason?: string | undefined;
  readonly ready: boolean;
  readonly notReadyReason?: string | undefined;
}

interface ProbeAnswer {
  readonly status: number;
  /** None: the answer has no body. */
  readonly body?: object;
}

type Probe = (state: ProbeState) => ProbeAnswer;

const ready: Probe = ({ ready: isReady, notReadyReason }) =>
  isReady
    ? { status: 200, body: { status: 'ready' } }
    : { status: 503, body: { status: 'not ready', reason: notReadyReason ?? 'starting' } };

const live: Probe = ({ live: isLive, notLiveReason }) =>
  isLive
    ? { status: 200, body: { status: 'live' } }
    : { status: 503, body: { status: 'not live', reason: notLiveReason ?? '' } };

/** Every path of a probe: Winnow's, Text Embeddings Inference's, SageMaker's, Weaviate's and KServe's. */
export const PROBES: ReadonlyMap<string, Probe> = new Map<string, Probe>([
  ['/', ready],
  ['/health', ready],
  ['/ping', ready],
  ['/health/live', live],
  ['/health/ready', ready],
  ['/.well-known/live', (state) => (state.live ? { status: 204 } : live(state))],
  ['/.well-known/ready', ready],
  ['/v2/health/live', (state) => ({ status: live(state).status, body: { live: state.live } })],
  ['/v2/health/ready', (state) => ({ status: ready(state).status, body: { ready: state.ready } })],
]);
