/** libp2p put together, behind the small door of types.ts. */
import type { Connection, Stream } from "@libp2p/interface"
import { until } from "../platform/index.ts"
import { type PeerRef, TroupeError } from "../schema/index.ts"
import { parseAddress, splitPeerId, withoutPeerId } from "./addresses.ts"
import { byteStream } from "./byte-stream.ts"
import { Connections, type Haste } from "./connections.ts"
import { Discovery, followSeeds } from "./discovery.ts"
import { notConnected, stopped } from "./failures.ts"
import { FrameLink, readFrames } from "./frames.ts"
import { Gossip } from "./gossip.ts"
import { peerIdOfKey } from "./keys.ts"
import { createNode, type Libp2pNode, listenFailure } from "./libp2p-node.ts"
import {
  frameProtocol,
  meshLimits,
  meshPeriods,
  requestProtocols,
  streamProtocols,
} from "./limits.ts"
import { Pulse } from "./pulse.ts"
import { RequestLink, serveRequests } from "./requests.ts"
import type {
  ByteStream,
  DiscoveryState,
  Mesh,
  MeshEvents,
  MeshOptions,
  MeshParts,
  RequestHandler,
  RequestProtocol,
  StreamProtocol,
} from "./types.ts"

type Listeners = { [K in keyof MeshEvents]: ((value: MeshEvents[K]) => void)[] }

/** No I/O before `start`. ERR_CONFIG_INVALID for a seed that is no address. Handlers may be set before or after it. */
export function createMesh(options: MeshOptions, parts: MeshParts): Mesh {
  return new LibP2PMesh(options, parts)
}

class LibP2PMesh implements Mesh {
  readonly peerId: string
  readonly #options: MeshOptions
  readonly #seeds: readonly string[]
  readonly #parts: MeshParts
  readonly #connections: Connections
  readonly #discovery: Discovery
  readonly #gossip: Gossip
  readonly #pulse: Pulse
  readonly #stop = new AbortController()
  readonly #listeners: Listeners = { discovered: [], connected: [], disconnected: [] }
  readonly #handlers = new Map<RequestProtocol, RequestHandler>()
  readonly #streamHandlers = new Map<StreamProtocol, (stream: ByteStream) => Promise<void>>()
  #onFrame: (from: string, frame: Uint8Array) => void = () => undefined
  /** By peer and protocol. */
  readonly #requests = new Map<string, RequestLink>()
  readonly #frames = new Map<string, FrameLink>()
  #node: Libp2pNode | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(options: MeshOptions, parts: MeshParts) {
    this.peerId = peerIdOfKey(options.privateKey)
    this.#options = options
    this.#seeds = options.seeds.map(parseAddress)
    this.#parts = parts
    this.#gossip = new Gossip(options.cluster, parts)
    this.#connections = new Connections(this.peerId, parts, (event, value) =>
      this.#emit(event, value),
    )
    this.#discovery = new Discovery(options, parts, (peer) => this.#discovered(peer))
    this.#pulse = new Pulse({
      clock: parts.clock,
      peers: () => this.#connections.peers(),
      ping: (peerId, signal) => this.#ping(peerId, signal),
      cut: (peerId, reason) => {
        parts.logger.info("a peer fell silent", { peer: peerId })
        this.#connections.cut(peerId, reason)
      },
    })
  }

  start(): Promise<void> {
    this.#starting ??= this.#start()
    return this.#starting
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#end()
    return this.#stopping
  }

  addresses(): readonly string[] {
    return this.#node?.getMultiaddrs().map(withoutPeerId) ?? []
  }

  connectedPeers(): readonly string[] {
    return this.#connections.peers()
  }

  addressOf(peerId: string): string | undefined {
    const connection = this.#connections.current(peerId)
    return connection && splitPeerId(connection.remoteAddr.toString()).address
  }

  async connect(peer: PeerRef, options: { signal: AbortSignal }): Promise<void> {
    this.#running()
    await this.#connections.connect(peer, { eager: false }, options.signal)
  }

  async request(
    peer: PeerRef,
    protocol: RequestProtocol,
    payload: Uint8Array,
    options: { signal: AbortSignal },
  ): Promise<Uint8Array> {
    this.#running()
    const link = this.#requestLink(peer.peerId, protocol)
    const open = () => this.#open(peer, protocol, { eager: true })
    return await link.request(payload, open, options.signal)
  }

  handle(protocol: RequestProtocol, handler: RequestHandler): void {
    this.#handlers.set(protocol, handler)
  }

  sendFrame(peer: PeerRef, frame: Uint8Array): boolean {
    if (!this.#node || this.#stop.signal.aborted) return false
    const known = this.#frames.get(peer.peerId)
    // At once, whoever has the lower id: a peer that restarts must not wait for its heartbeats.
    const open = () => this.#open(this.#ref(peer.peerId), frameProtocol, { eager: true })
    const link = known ?? new FrameLink(open, () => this.#connections.isAway(peer.peerId))
    if (!known) remember(this.#frames, peer.peerId, link)
    // While the stream is open nobody dials.
    if (!link.isOpen) this.#connections.book.learn(peer.peerId, peer.addresses)
    return link.send(frame)
  }

  onFrame(handler: (from: string, frame: Uint8Array) => void): void {
    this.#onFrame = handler
  }

  async openStream(
    peer: PeerRef,
    protocol: StreamProtocol,
    options: { signal: AbortSignal },
  ): Promise<ByteStream> {
    this.#running()
    const stream = await until(this.#open(peer, protocol, { eager: true }), options.signal)
    return byteStream(stream, peer.peerId)
  }

  onStream(protocol: StreamProtocol, handler: (stream: ByteStream) => Promise<void>): void {
    this.#streamHandlers.set(protocol, handler)
  }

  publish(facts: object): void {
    if (this.#node) this.#gossip.publish(facts)
  }

  onFacts(handler: (from: string, facts: unknown) => void): void {
    this.#gossip.onFacts(handler)
  }

  on<K extends keyof MeshEvents>(event: K, handler: (value: MeshEvents[K]) => void): void {
    this.#listeners[event].push(handler)
  }

  discovery(): DiscoveryState {
    return this.#discovery.state()
  }

  async #start(): Promise<void> {
    const node = await createNode(this.#options, this.#discovery)
    this.#connections.attach(node)
    await this.#serve(node)
    try {
      await node.start()
    } catch (error) {
      throw listenFailure(error)
    }
    this.#node = node
    this.#gossip.start(node.services.pubsub)
    this.#pulse.start()
    const follow = { ...this.#parts, connections: this.#connections, self: this.peerId }
    const found = (peer: PeerRef) => this.#discovered(peer)
    followSeeds(this.#seeds, { ...follow, found }, this.#stop.signal)
    this.#parts.logger.info("the mesh listens", { addresses: this.addresses() })
  }

  async #serve(node: Libp2pNode): Promise<void> {
    const limits = { maxInboundStreams: 4, maxOutboundStreams: 4 }
    for (const protocol of requestProtocols) {
      await node.handle(
        protocol,
        (stream, connection) => this.#serveRequests(protocol, stream, connection),
        limits,
      )
    }
    await node.handle(
      frameProtocol,
      (stream, connection) => {
        const from = connection.remotePeer.toString()
        readFrames(stream, (frame) => {
          this.#pulse.heard(from)
          this.#onFrame(from, frame)
        })
      },
      limits,
    )
    const many = {
      maxInboundStreams: meshLimits.streamsPerPeerMax,
      maxOutboundStreams: meshLimits.streamsPerPeerMax,
    }
    for (const protocol of streamProtocols) {
      await node.handle(
        protocol,
        (stream, connection) => this.#serveStream(protocol, stream, connection),
        many,
      )
    }
  }

  async #serveRequests(
    protocol: RequestProtocol,
    stream: Stream,
    connection: Connection,
  ): Promise<void> {
    const peerId = connection.remotePeer.toString()
    const { logger } = this.#parts
    const heard = () => this.#pulse.heard(peerId)
    try {
      const handler: RequestHandler = async (...request) => {
        const current = this.#handlers.get(protocol)
        if (!current) throw nobody(protocol)
        return await current(...request)
      }
      await serveRequests(stream, { peerId, protocol }, { handler, heard, logger })
    } catch (error) {
      // A frame too large or not to be read, or the connection broke.
      logger.debug("a request stream ended", { peer: peerId, protocol, error: String(error) })
      stream.abort(error as Error)
    }
  }

  async #serveStream(
    protocol: StreamProtocol,
    stream: Stream,
    connection: Connection,
  ): Promise<void> {
    const peerId = connection.remotePeer.toString()
    const handler = this.#streamHandlers.get(protocol)
    if (!handler) return stream.abort(nobody(protocol))
    const bytes = byteStream(stream, peerId)
    try {
      await handler(bytes)
      await bytes.end()
    } catch (error) {
      this.#parts.logger.debug("a stream failed", { peer: peerId, protocol, error: String(error) })
      stream.abort(error as Error)
    }
  }

  async #open(peer: PeerRef, protocol: string, haste: Haste): Promise<Stream> {
    const { clock } = this.#parts
    const limit = clock.timeoutSignal(
      meshPeriods.dialMs + meshPeriods.yieldMs,
      `reaching ${peer.peerId}`,
    )
    const signal = AbortSignal.any([limit, this.#stop.signal])
    const connection = await this.#connections.connect(peer, haste, signal)
    try {
      return await connection.newStream(protocol, { signal, maxOutboundStreams: 64 })
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      throw notConnected(peer.peerId, error)
    }
  }

  async #ping(peerId: string, signal: AbortSignal): Promise<void> {
    const open = () => this.#open(this.#ref(peerId), "/troupe/ctl/1", { eager: true })
    await this.#requestLink(peerId, "/troupe/ctl/1").ping(open, signal)
  }

  /** What the book knows replaces the caller's addresses. */
  #ref(peerId: string): PeerRef {
    return { peerId, addresses: [] }
  }

  #requestLink(peerId: string, protocol: RequestProtocol): RequestLink {
    const key = `${peerId} ${protocol}`
    const known = this.#requests.get(key)
    const link = known ?? new RequestLink({ peerId, protocol }, () => this.#pulse.heard(peerId))
    if (!known) remember(this.#requests, key, link)
    return link
  }

  #discovered(peer: PeerRef): void {
    if (peer.peerId === this.peerId) return
    this.#connections.book.learn(peer.peerId, peer.addresses)
    this.#connections.book.seen(peer.peerId)
    this.#emit("discovered", peer)
  }

  #emit<K extends keyof MeshEvents>(event: K, value: MeshEvents[K]): void {
    if (this.#stop.signal.aborted) return
    for (const listener of this.#listeners[event]) listener(value)
  }

  #running(): void {
    if (!this.#node || this.#stop.signal.aborted) throw stopped()
  }

  async #end(): Promise<void> {
    // A start that failed has said so to its caller.
    await this.#starting?.catch(() => undefined)
    const { clock } = this.#parts
    this.#pulse.stop()
    this.#gossip.stop()
    // Frames of this turn still leave: a leader that goes hands over with its last one.
    await Promise.race([this.#flushed(), clock.sleep(meshPeriods.flushMs)])
    this.#stop.abort(stopped())
    this.#connections.stop()
    for (const link of this.#requests.values()) link.stop()
    for (const link of this.#frames.values()) link.stop()
    const node = this.#node
    if (!node) return
    await Promise.race([node.stop(), clock.sleep(meshPeriods.stopMs)])
    for (const connection of node.getConnections()) connection.abort(stopped())
  }

  async #flushed(): Promise<void> {
    do {
      await new Promise((resolve) => setImmediate(resolve))
    } while (!this.#stop.signal.aborted && [...this.#frames.values()].some((link) => !link.idle))
  }
}

/** Links that nobody uses make room for new ones. */
function remember<L extends { readonly idle: boolean; stop(): void }>(
  links: Map<string, L>,
  key: string,
  link: L,
): void {
  links.set(key, link)
  if (links.size <= meshLimits.peersMax) return
  for (const [other, candidate] of links) {
    if (other === key || !candidate.idle) continue
    candidate.stop()
    links.delete(other)
    return
  }
}

function nobody(protocol: string): TroupeError<"ERR_PROTOCOL"> {
  return new TroupeError("ERR_PROTOCOL", `this node does not answer ${protocol}`, {
    where: protocol,
    reason: "not served",
  })
}
