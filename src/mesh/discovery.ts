/** Finding peers: mDNS on the local network, and the seeds of `--join`. */
import { createHash } from "node:crypto"
import { createSocket } from "node:dgram"
import { networkInterfaces } from "node:os"
import { isStartable, type PeerDiscovery } from "@libp2p/interface"
import { mdns } from "@libp2p/mdns"
import type { PeerRef } from "../schema/index.ts"
import { isLoopback, splitPeerId, withoutPeerId } from "./addresses.ts"
import type { Connections } from "./connections.ts"
import { reasonOf } from "./failures.ts"
import { meshLimits, meshPeriods } from "./limits.ts"
import type { DiscoveryState, MeshOptions, MeshParts } from "./types.ts"

type Found = (peer: PeerRef) => void
type MdnsFactory = ReturnType<typeof mdns>

/** One label of at most 63 bytes for each cluster name, so that other clusters are not even heard. */
export function serviceTag(cluster: string): string {
  const plain = /^[a-z0-9][a-z0-9-]{0,39}$/.test(cluster)
  const label = plain ? cluster : createHash("sha256").update(cluster).digest("hex").slice(0, 32)
  return `_troupe-${label}._udp.local`
}

export class Discovery {
  readonly #options: MeshOptions
  readonly #parts: MeshParts
  readonly #found: Found
  /** When a peer was announced last, by boot time. */
  readonly #told = new Map<string, number>()
  #off: string | undefined
  /** Why multicast cannot work now; unlike `#off` this may change. */
  #trouble: string | undefined
  #heardSomebody = false
  #startedAt = 0

  constructor(options: MeshOptions, parts: MeshParts, found: Found) {
    this.#options = options
    this.#parts = parts
    this.#found = found
  }

  /** The mDNS parts for libp2p: none when it would be of no use, and then `state` says why. */
  async services(): Promise<MdnsFactory[]> {
    this.#startedAt = this.#parts.clock.boottime()
    this.#off = whyOff(this.#options)
    if (this.#off !== undefined) return []
    this.#trouble = await whyNoMulticast()
    const tag = serviceTag(this.#options.cluster)
    // Both answer to one name, so that neither takes the other for somebody else.
    const peerName = Buffer.from(this.#parts.random.bytes(16)).toString("hex")
    const make = mdns({ serviceTag: tag, peerName, interval: meshPeriods.mdnsQueryMs })
    const early = { serviceTag: tag, peerName, broadcast: false }
    const makeEarly = mdns({ ...early, interval: meshPeriods.mdnsEarlyQueryMs })
    return [
      (components) => this.#listen(make(components)),
      (components) => this.#seek(makeEarly(components)),
    ]
  }

  state(): DiscoveryState {
    const seeds = this.#options.seeds
    if (this.#off !== undefined) return { mdns: "off", reason: this.#off, seeds }
    const waited = this.#parts.clock.boottime() - this.#startedAt
    if (!this.#heardSomebody && this.#trouble !== undefined) {
      // The network may have come up since: looked at again, for the next one who asks.
      void whyNoMulticast().then((trouble) => {
        this.#trouble = trouble
      })
      return { mdns: "silent", reason: this.#trouble, seeds }
    }
    if (this.#heardSomebody || waited < meshPeriods.mdnsSilentMs) return { mdns: "on", seeds }
    const seconds = Math.round(waited / 1000)
    const reason = `no other node of cluster ${this.#options.cluster} answered by mDNS in ${seconds} s; where multicast does not pass, use --join`
    return { mdns: "silent", reason, seeds }
  }

  #listen(service: PeerDiscovery): PeerDiscovery {
    service.addEventListener("peer", ({ detail }) => {
      this.#heardSomebody = true
      const addresses = detail.multiaddrs.map(withoutPeerId).slice(0, meshLimits.addressesMax)
      this.#tell({ peerId: detail.id.toString(), addresses })
    })
    return service
  }

  /** A single query is easily lost, as on a wireless network, and a node that hears of nobody founds a cluster: it is asked
   *  more often at first, until somebody is heard. */
  #seek(service: PeerDiscovery): PeerDiscovery {
    const stop = (): void => {
      if (isStartable(service)) void service.stop()
    }
    const timer = this.#parts.clock.after(meshPeriods.mdnsEarlyMs, stop)
    service.addEventListener("peer", () => {
      timer.cancel()
      // Not while its own event is under way.
      queueMicrotask(stop)
    })
    return this.#listen(service)
  }

  /** Every query on the network brings everybody's answer: one of them in a while is enough. */
  #tell(peer: PeerRef): void {
    const now = this.#parts.clock.boottime()
    const last = this.#told.get(peer.peerId)
    if (last !== undefined && now - last < meshPeriods.rediscoverMs) return
    this.#told.delete(peer.peerId)
    this.#told.set(peer.peerId, now)
    if (this.#told.size > meshLimits.peersMax) {
      const [oldest] = this.#told.keys()
      this.#told.delete(oldest!)
    }
    this.#found(peer)
  }
}

function whyOff(options: MeshOptions): string | undefined {
  if (!options.mdns) return "mDNS is switched off"
  if (options.listen.every(isLoopback)) {
    return "this node listens on loopback only; use --listen to be found by other machines"
  }
  return undefined
}

/** Binds as mDNS does and looks up the route, without sending: both fail in silence inside multicast-dns. */
function whyNoMulticast(): Promise<string | undefined> {
  const reachable = Object.values(networkInterfaces())
    .flat()
    .some((entry) => entry && !entry.internal && entry.family === "IPv4")
  if (!reachable) return Promise.resolve("this machine has no IPv4 address other than loopback")
  return new Promise((resolve) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true })
    const settle = (reason?: string) => {
      socket.removeAllListeners()
      socket.close()
      resolve(reason)
    }
    const fail = (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") settle("another program holds UDP port 5353 for itself")
      else if (error.code === "ENETUNREACH") settle("no route for multicast (224.0.0.251)")
      else settle(`UDP port 5353 cannot be used: ${error.message}`)
    }
    socket.once("error", fail)
    // Node hands the error of a connect to its callback, though its types know no argument there.
    const connected = (error?: NodeJS.ErrnoException) => (error ? fail(error) : settle())
    socket.bind(5353, () => socket.connect(5353, "224.0.0.251", connected))
  })
}

/** Dials every seed (a multiaddr) until it answers, and again when it is lost. */
export function followSeeds(
  seeds: readonly string[],
  parts: MeshParts & { connections: Connections; found: Found; self: string },
  signal: AbortSignal,
): void {
  for (const seed of seeds) {
    void followSeed(seed, parts, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

async function followSeed(
  seed: string,
  parts: MeshParts & { connections: Connections; found: Found; self: string },
  signal: AbortSignal,
): Promise<void> {
  const { address, peerId: expected } = splitPeerId(seed)
  let peerId = expected
  let wait: number = meshPeriods.seedBackoffMinMs
  while (!signal.aborted && peerId !== parts.self) {
    if (peerId === undefined || !parts.connections.current(peerId)) {
      try {
        const connection = await parts.connections.connectTo(seed, signal)
        peerId = connection.remotePeer.toString()
        wait = meshPeriods.seedBackoffMinMs
        parts.found({ peerId, addresses: [address] })
      } catch (error) {
        signal.throwIfAborted()
        // The list of seeds is often the same on every machine, and one of them is this one.
        if (error instanceof Error && error.message === "Can not dial self") return
        parts.logger.debug("a seed does not answer", { seed, reason: reasonOf(error) })
        wait = Math.min(wait * 2, meshPeriods.seedBackoffMaxMs)
      }
    }
    // Not all nodes of a rack at the same moment.
    const spread = wait * (0.75 + parts.random.next() / 2)
    await parts.clock.sleep(spread, { signal })
  }
}
