/** Connections to peers: one dial at a time for each, the lower peer id first, patience after failures; and what is
 *  said when the last connection to a peer is gone. */
import type { Connection, Libp2p, PeerId } from "@libp2p/interface"
import { peerIdFromString } from "@libp2p/peer-id"
import { multiaddr } from "@multiformats/multiaddr"
import { until } from "../platform/index.ts"
import type { PeerRef } from "../schema/index.ts"
import { type SocketAddress, socketOf, splitPeerId, withoutPeerId } from "./addresses.ts"
import { connectionLost, isRefused, notConnected, stopped } from "./failures.ts"
import { meshPeriods } from "./limits.ts"
import { PeerBook } from "./peer-book.ts"
import { isListenerGone } from "./probe.ts"
import type { MeshEvents, MeshParts } from "./types.ts"

type Emit = <K extends keyof MeshEvents>(event: K, value: MeshEvents[K]) => void

/** `eager` dials at once; otherwise the higher of the two ids first lets the other side dial. */
export interface Haste {
  readonly eager: boolean
}

interface Waiter {
  resolve(connection: Connection): void
}

export class Connections {
  readonly book = new PeerBook()
  readonly #self: string
  readonly #parts: MeshParts
  readonly #emit: Emit
  readonly #dials = new Map<string, Promise<Connection>>()
  readonly #arrivals = new Map<string, Set<Waiter>>()
  /** Peers of which `connected` was said, and `disconnected` not yet. */
  readonly #present = new Set<string>()
  /** Peers whose loss is being looked into; aborted when they are back. */
  readonly #losses = new Map<string, AbortController>()
  readonly #stop = new AbortController()
  #libp2p: Libp2p | undefined

  constructor(self: string, parts: MeshParts, emit: Emit) {
    this.#self = self
    this.#parts = parts
    this.#emit = emit
  }

  attach(libp2p: Libp2p): void {
    this.#libp2p = libp2p
    // Dispatched after libp2p counts the connection; its own peer:connect says nothing of which one it is.
    libp2p.addEventListener("connection:open", ({ detail }) => this.#opened(detail))
    libp2p.addEventListener("connection:close", ({ detail }) => this.#closed(detail))
    libp2p.addEventListener("peer:identify", ({ detail }) => {
      const peerId = detail.peerId.toString()
      const addresses = detail.listenAddrs.map(withoutPeerId)
      // Of one that dialled us nothing was known so far.
      if (this.book.learn(peerId, addresses)) this.#emit("discovered", { peerId, addresses })
    })
  }

  stop(): void {
    this.#stop.abort(stopped())
    for (const loss of this.#losses.values()) loss.abort(stopped())
  }

  /** Of two connections to a peer both sides use the one that the lower id dialled. */
  current(peerId: string): Connection | undefined {
    const open = this.#of(peerIdFromString(peerId))
    if (open.length < 2) return open[0]
    const wanted = this.#self < peerId ? "outbound" : "inbound"
    return open.find((connection) => connection.direction === wanted) ?? open[0]
  }

  /** Without a connection, and not to be dialled just now. */
  isAway(peerId: string): boolean {
    const patience = this.book.backingOff(peerId, this.#parts.clock.boottime())
    return patience !== undefined && !this.current(peerId)
  }

  peers(): string[] {
    const peers = new Set<string>()
    for (const connection of this.#libp2p?.getConnections() ?? []) {
      if (connection.status === "open") peers.add(connection.remotePeer.toString())
    }
    return [...peers]
  }

  /** Cuts every connection to a peer that fell silent. */
  cut(peerId: string, reason: Error): void {
    for (const connection of this.#of(peerIdFromString(peerId))) connection.abort(reason)
  }

  /** ERR_PEER_UNREACHABLE "not connected: …", at once while dials to this peer are backed off. */
  async connect(peer: PeerRef, haste: Haste, signal: AbortSignal): Promise<Connection> {
    if (peer.peerId === this.#self) throw new Error("a node never connects to itself")
    signal.throwIfAborted()
    this.#stop.signal.throwIfAborted()
    const present = this.current(peer.peerId)
    if (present) return present
    this.book.learn(peer.peerId, peer.addresses)
    if (!haste.eager && peer.peerId < this.#self) {
      const arrived = await this.#arrival(peer.peerId, signal)
      if (arrived) return arrived
    }
    return await until(this.#dial(peer.peerId), signal)
  }

  /** To whoever answers at this address. */
  async connectTo(address: string, signal: AbortSignal): Promise<Connection> {
    if (!this.#libp2p) throw stopped()
    const limit = this.#parts.clock.timeoutSignal(meshPeriods.dialMs, `dialling ${address}`)
    const all = AbortSignal.any([signal, limit, this.#stop.signal])
    return await this.#libp2p.dial(multiaddr(address), { signal: all })
  }

  #of(peerId: PeerId): Connection[] {
    const known = this.#libp2p?.getConnections(peerId) ?? []
    return known.filter((connection) => connection.status === "open")
  }

  /** The other side dials first; undefined when it did not in time. */
  async #arrival(peerId: string, signal: AbortSignal): Promise<Connection | undefined> {
    const waiters = this.#arrivals.get(peerId) ?? new Set()
    this.#arrivals.set(peerId, waiters)
    const given = Promise.withResolvers<Connection | undefined>()
    const waiter = { resolve: given.resolve }
    waiters.add(waiter)
    const timer = this.#parts.clock.after(meshPeriods.yieldMs, () => given.resolve(undefined))
    try {
      return await until(given.promise, AbortSignal.any([signal, this.#stop.signal]))
    } finally {
      timer.cancel()
      waiters.delete(waiter)
      if (waiters.size === 0) this.#arrivals.delete(peerId)
    }
  }

  #dial(peerId: string): Promise<Connection> {
    const present = this.current(peerId)
    if (present) return Promise.resolve(present)
    const running = this.#dials.get(peerId)
    if (running) return running
    const dial = this.#dialOnce(peerId).finally(() => this.#dials.delete(peerId))
    this.#dials.set(peerId, dial)
    return dial
  }

  async #dialOnce(peerId: string): Promise<Connection> {
    const { clock, logger } = this.#parts
    const patience = this.book.backingOff(peerId, clock.boottime())
    if (patience) throw notConnected(peerId, patience.error)
    const addresses = this.book.addresses(peerId)
    if (!this.#libp2p) throw stopped()
    if (addresses.length === 0) throw notConnected(peerId, "no address is known")
    const limit = clock.timeoutSignal(meshPeriods.dialMs, `dialling ${peerId}`)
    const targets = addresses.map((address) => multiaddr(`${address}/p2p/${peerId}`))
    try {
      const signal = AbortSignal.any([limit, this.#stop.signal])
      return await this.#libp2p.dial(targets, { signal })
    } catch (error) {
      const refused = isRefused(error)
      // It may have dialled us in the meantime.
      const arrived = this.current(peerId)
      if (arrived) return arrived
      this.book.failed(peerId, { error, refused, now: clock.boottime() })
      logger.debug("a peer could not be reached", { peer: peerId, addresses, error: String(error) })
      throw notConnected(peerId, error)
    }
  }

  #opened(connection: Connection): void {
    if (connection.status !== "open") return
    const peerId = connection.remotePeer.toString()
    const { address } = splitPeerId(connection.remoteAddr.toString())
    const outbound = connection.direction === "outbound"
    this.book.reached(peerId, outbound ? address : undefined)
    const loss = this.#losses.get(peerId)
    if (loss) {
      loss.abort(new Error("it is back"))
      this.#gone(peerId, false)
    }
    if (!this.#present.has(peerId)) {
      this.#present.add(peerId)
      this.#emit("connected", { peerId, address, outbound })
    }
    for (const waiter of this.#arrivals.get(peerId) ?? []) waiter.resolve(connection)
  }

  #closed(connection: Connection): void {
    const peerId = connection.remotePeer.toString()
    const left = this.#of(connection.remotePeer).some((other) => other.id !== connection.id)
    if (left || !this.#present.has(peerId) || this.#losses.has(peerId)) return
    if (this.#stop.signal.aborted) return
    const loss = new AbortController()
    this.#losses.set(peerId, loss)
    void isListenerGone(this.#listenersOf(connection), this.#parts.clock, loss.signal).then(
      (refused) => {
        if (loss.signal.aborted) return
        const now = this.#parts.clock.boottime()
        if (refused) this.book.failed(peerId, { error: connectionLost(peerId), refused, now })
        this.#gone(peerId, refused)
      },
    )
  }

  #gone(peerId: string, refused: boolean): void {
    this.#losses.delete(peerId)
    this.#present.delete(peerId)
    this.#emit("disconnected", { peerId, refused })
  }

  /** Where the peer of a lost connection listened: on the host that the connection went to, no other. */
  #listenersOf(connection: Connection): SocketAddress[] {
    const remote = splitPeerId(connection.remoteAddr.toString()).address
    const socket = socketOf(remote)
    if (connection.direction === "outbound" || !socket) return socket ? [socket] : []
    const known = this.book.addresses(connection.remotePeer.toString())
    return known.flatMap((address) => {
      const other = socketOf(address)
      return other?.host === socket.host ? [other] : []
    })
  }
}
