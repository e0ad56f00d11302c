/** Hellos: every moment to those who are connected and perhaps not of this cluster, and how long no leader was heard. */
import type { Clock } from "../platform/index.ts"
import type { PeerRef } from "../schema/index.ts"
import { type Hello, joinAnswer, joinRequest } from "../wire/index.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"

/** Peers that are remembered until the node is ready to meet them. */
const earlyMax = 256

export interface GreetingParts {
  readonly options: Pick<NodeOptions, "timing">
  readonly parts: Pick<Parts, "mesh" | "clock" | "logger">
  readonly stopping: AbortSignal
  hello(): Hello
  /** Peers of this cluster; undefined: there is none yet. */
  known(): ReadonlySet<string> | undefined
  hasLeader(): boolean
  isQuiet(): boolean
  heard(peer: PeerRef, hello: Hello): void
  /** No leader for a while, though others of the cluster are connected. */
  leaderless(): void
}

export class Greeting {
  readonly #parts: GreetingParts
  readonly #clock: Clock
  /** Boot-time clock since when no leader is known. */
  #leaderlessSince: number | undefined
  #timer: { cancel(): void } | undefined
  #isStarted = false
  /** Discovered before the start, by peer id. */
  readonly #early = new Map<string, PeerRef>()
  /** Approaches and hellos under way. */
  #pending = 0

  constructor(parts: GreetingParts) {
    this.#parts = parts
    this.#clock = parts.parts.clock
  }

  /** Before the mesh starts: whoever answers its first query is not told of again for a while. */
  listen(): void {
    const { mesh } = this.#parts.parts
    mesh.on("discovered", (peer) => {
      if (this.#isStarted) void this.approach(peer)
      else if (this.#early.size < earlyMax) this.#early.set(peer.peerId, peer)
    })
    mesh.on("connected", ({ peerId }) => {
      if (this.#isStarted) void this.#greet({ peerId, addresses: [] })
    })
  }

  start(): void {
    const { mesh } = this.#parts.parts
    this.#isStarted = true
    for (const peer of this.#early.values()) void this.approach(peer)
    this.#early.clear()
    for (const peerId of mesh.connectedPeers()) void this.#greet({ peerId, addresses: [] })
    this.#timer = this.#clock.every(this.#parts.options.timing.helloMs, () => this.#round())
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** Somebody was discovered or connected, and has not said yet who it is. */
  get isMeeting(): boolean {
    return this.#pending > 0
  }

  /** Of a cluster's member without a leader, ms; else 0. */
  leaderlessMs(): number {
    const since = this.#leaderlessSince
    return since === undefined ? 0 : this.#clock.boottime() - since
  }

  #round(): void {
    if (this.#parts.isQuiet()) return
    const known = this.#parts.known()
    const connected = this.#parts.parts.mesh.connectedPeers()
    for (const peerId of connected) {
      if (!known?.has(peerId)) void this.#greet({ peerId, addresses: [] })
    }
    if (!known || this.#parts.hasLeader()) {
      this.#leaderlessSince = undefined
      return
    }
    this.#leaderlessSince ??= this.#clock.boottime()
    const isLong = this.leaderlessMs() >= 2 * this.#parts.options.timing.sessionMs
    if (isLong && connected.some((peerId) => known.has(peerId))) this.#parts.leaderless()
  }

  async approach(peer: PeerRef): Promise<void> {
    const { mesh, logger } = this.#parts.parts
    if (peer.peerId === mesh.peerId) return
    this.#pending++
    try {
      await mesh.connect(peer, { signal: this.#limit("connecting to a peer") })
    } catch (error) {
      logger.debug("a peer does not answer", { peer: peer.peerId, error: String(error) })
    } finally {
      this.#pending--
    }
  }

  async #greet(peer: PeerRef): Promise<void> {
    const { mesh, logger } = this.#parts.parts
    this.#pending++
    try {
      const payload = joinRequest.encode({ type: "hello", hello: this.#parts.hello() })
      const signal = this.#limit("a hello")
      const answer = await mesh.request(peer, "/troupe/join/1", payload, { signal })
      const decoded = joinAnswer.decode(answer)
      if (decoded.type === "hello") this.#parts.heard(peer, decoded.hello)
    } catch (error) {
      logger.debug("a hello was not answered", { peer: peer.peerId, error: String(error) })
    } finally {
      this.#pending--
    }
  }

  #limit(what: string): AbortSignal {
    const limit = this.#clock.timeoutSignal(this.#parts.options.timing.requestMs, what)
    return AbortSignal.any([this.#parts.stopping, limit])
  }
}
