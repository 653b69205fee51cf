/** Hours of a month, on average. */
const HOURS_A_MONTH = 730;

/** What is asked for, and what one replica is. */
interface CapacityRequest {
  /** Requests a second. */
  readonly rps: number;
  /** Milliseconds that a request takes of one host. */
  readonly hostMsARequest: number;
  /** Share of the hosts' time that stays free for peaks, below 1. */
  readonly headroom: number;
  readonly hostsAReplica: number;
  readonly coresAReplica: number;
  /** Bytes of the process that serves HTTP, and of one host with the model. */
  readonly frontBytes: number;
  readonly hostBytes: number;
  /** Price of a core for an hour, in any currency. */
  readonly price?: number | undefined;
}

export interface CapacityPlan {
  /** Hosts that the load would keep busy all the time. */
  readonly busyHosts: number;
  /** Hosts with headroom, in whole replicas. */
  readonly hosts: number;
  readonly replicas: number;
  readonly cores: number;
  /** Share of the hosts' time that the load takes. */
  readonly utilization: number;
  /** Requests a second at which a replica is busy all the time. */
  readonly mostRpsAReplica: number;
  readonly bytesAReplica: number;
  readonly bytes: number;
  readonly costAMonth?: number;
}

/** Computes how many replicas a load needs. At least one; no load needs one too. */
export function planCapacity(request: CapacityRequest): CapacityPlan {
  const { rps, hostMsARequest, headroom, hostsAReplica, coresAReplica, frontBytes, hostBytes, price } = request;
  const busyHosts = (rps * hostMsARequest) / 1000;
  // A load that fits exactly is not rounded up because of the last bit.
  const replicas = Math.max(1, Math.ceil(busyHosts / (1 - headroom) / hostsAReplica - 1e-9));
  const hosts = replicas * hostsAReplica;
  const bytesAReplica = frontBytes + hostsAReplica * hostBytes;
  const cores = replicas * coresAReplica;
  return {
    busyHosts,
    hosts,
    replicas,
    cores,
    utilization: busyHosts / hosts,
    mostRpsAReplica: (hostsAReplica * 1000) / hostMsARequest,
    bytesAReplica,
    bytes: replicas * bytesAReplica,
    ...(price === undefined ? {} : { costAMonth: cores * price * HOURS_A_MONTH }),
  };
}
