/** One process on a FakeNetwork, with the door of a real mesh. */
import type {
  ByteStream,
  Mesh,
  MeshEvents,
  RequestHandler,
  RequestProtocol,
  StreamProtocol,
} from "../../src/mesh/index.ts"
import { decodeFailure, encodeFailure } from "../../src/mesh/envelope.ts"
import { busy, connectionLost, notConnected, stopped, tooLarge } from "../../src/mesh/failures.ts"
import { type Timer, until } from "../../src/platform/index.ts"
import type { Facts, PeerRef } from "../../src/schema/index.ts"
import type { FakeNetwork } from "./fake-mesh.ts"
import { FakePipe } from "./fake-stream.ts"

export interface FakeNodeOptions {
  readonly peerId: string
  /** Where others dial, e.g. `/ip4/10.0.0.1/tcp/8771`. */
  readonly address: string
  readonly cluster?: string
  /** Addresses of others. */
  readonly seeds?: readonly string[]
  /** Finds, and is found by, every other of its cluster that has this. */
  readonly mdns?: boolean
}

/** The same object on both sides of a connection. */
interface FakeConnection {
  readonly dialler: string
  readonly pipes: Set<FakePipe>
}

interface Pending {
  readonly to: string
  readonly protocol: RequestProtocol
  reject(error: Error): void
}

const limits = { bytes: 4 << 20, inFlight: 256, frame: 4 << 20, queue: 4096 }
const backoffMs = 100

export class FakeNode implements Mesh {
  readonly peerId: string
  readonly address: string
  readonly #options: FakeNodeOptions
  readonly #net: FakeNetwork
  readonly #connections = new Map<string, FakeConnection>()
  readonly #known = new Map<string, string>()
  readonly #dials = new Map<string, Promise<void>>()
  /** Frames that wait for a connection. */
  readonly #queues = new Map<string, Uint8Array[]>()
  readonly #notBefore = new Map<string, number>()
  readonly #pending = new Set<Pending>()
  readonly #handlers = new Map<string, RequestHandler>()
  readonly #streamHandlers = new Map<string, (stream: ByteStream) => Promise<void>>()
  readonly #serving = new Map<AbortController, string>()
  readonly #listeners: { [K in keyof MeshEvents]: ((value: MeshEvents[K]) => void)[] } = {
    discovered: [],
    connected: [],
    disconnected: [],
  }
  #onFrame: (from: string, frame: Uint8Array) => void = () => undefined
  readonly #onFacts: ((from: string, facts: unknown) => void)[] = []
  readonly #timers: Timer[] = []
  #state: "new" | "running" | "ended" = "new"

  constructor(options: FakeNodeOptions, net: FakeNetwork) {
    this.peerId = options.peerId
    this.address = options.address
    this.#options = options
    this.#net = net
  }

  get alive(): boolean {
    return this.#state === "running"
  }

  async start(): Promise<void> {
    if (this.#state !== "new") return
    this.#state = "running"
    if (this.#options.mdns) {
      this.#announce()
      this.#timers.push(this.#net.clock.every(10_000, () => this.#announce()))
      for (const ms of [600, 1200, 1800, 2400]) {
        this.#timers.push(this.#net.clock.after(ms, () => this.#announce()))
      }
    }
    for (const seed of this.#options.seeds ?? []) {
      this.#follow(seed)
      this.#timers.push(this.#net.clock.every(1000, () => this.#follow(seed)))
    }
  }

  async stop(): Promise<void> {
    if (this.#state !== "ended") this.die()
  }

  /** As `kill -9` and as `stop`: the host's system closes what was open. */
  die(): void {
    this.#state = "ended"
    for (const timer of this.#timers) timer.cancel()
    for (const other of this.#connections.keys()) {
      const node = this.#net.node(other)
      const told = this.#net.open(this.peerId, other)
      const wait = told ? this.#net.delay() : this.#net.options.silenceMs
      const connection = this.#connections.get(other)
      this.#net.clock.after(wait, () => {
        // It may have connected to a new process of this peer meanwhile.
        if (node?.connectionTo(this.peerId) === connection) node?.lost(this.peerId, told)
      })
      this.#drop(other, stopped())
    }
  }

  addresses(): readonly string[] {
    return [this.address]
  }

  connectedPeers(): readonly string[] {
    return [...this.#connections.keys()]
  }

  addressOf(peerId: string): string | undefined {
    return this.#connections.has(peerId) ? this.#net.node(peerId)?.address : undefined
  }

  async connect(peer: PeerRef, { signal }: { signal: AbortSignal }): Promise<void> {
    this.#running()
    if (peer.peerId === this.peerId) throw new Error("a node never connects to itself")
    signal.throwIfAborted()
    if (this.#connections.has(peer.peerId)) return
    if (peer.addresses[0] !== undefined) this.#known.set(peer.peerId, peer.addresses[0])
    await until(this.#dial(peer.peerId), signal)
  }

  async request(
    peer: PeerRef,
    protocol: RequestProtocol,
    payload: Uint8Array,
    { signal }: { signal: AbortSignal },
  ): Promise<Uint8Array> {
    this.#running()
    signal.throwIfAborted()
    if (payload.length > limits.bytes) throw tooLarge("a request", limits.bytes)
    const same = [...this.#pending].filter(
      (other) => other.to === peer.peerId && other.protocol === protocol,
    )
    if (same.length >= limits.inFlight) throw busy("requests")
    const answer = Promise.withResolvers<Uint8Array>()
    // Its failure is seen by the race below, or by nobody who still waits.
    answer.promise.catch(() => undefined)
    const pending = { to: peer.peerId, protocol, reject: answer.reject }
    const cancel = new AbortController()
    this.#pending.add(pending)
    try {
      await this.connect(peer, { signal })
      const node = this.#net.node(peer.peerId)!
      if (protocol === "/troupe/job/1") this.#net.echo(() => this.#comeAgain(peer.peerId, payload))
      this.#net.send(this, node, () => {
        void node.#serve(this, { protocol, payload: payload.slice(), cancel }).then((reply) => {
          this.#net.send(node, this, () => reply(answer))
        })
      })
      return await until(answer.promise, signal)
    } catch (error) {
      const node = this.#net.node(peer.peerId)
      if (signal.aborted && node) this.#net.send(this, node, () => cancel.abort(signal.reason))
      throw error
    } finally {
      this.#pending.delete(pending)
    }
  }

  #comeAgain(peerId: string, payload: Uint8Array): void {
    const node = this.#net.node(peerId)
    if (!node?.alive) return
    const order = { protocol: "/troupe/job/1", payload, cancel: new AbortController() } as const
    this.#net.arrive(peerId, () => void node.#serve(this, order))
  }

  handle(protocol: RequestProtocol, handler: RequestHandler): void {
    this.#handlers.set(protocol, handler)
  }

  sendFrame(peer: PeerRef, frame: Uint8Array): boolean {
    if (!this.alive || frame.length > limits.frame) return false
    const node = this.#net.node(peer.peerId)
    if (node && this.#connections.has(peer.peerId)) {
      const copy = frame.slice()
      if (this.#net.losesFrame()) return true
      this.#net.send(this, node, () => node.#onFrame(this.peerId, copy))
      return true
    }
    if (peer.addresses[0] !== undefined) this.#known.set(peer.peerId, peer.addresses[0])
    const queue = this.#queues.get(peer.peerId) ?? []
    this.#queues.set(peer.peerId, queue)
    if (queue.length >= limits.queue) return false
    queue.push(frame.slice())
    this.#dial(peer.peerId).then(
      () => this.#flush(peer),
      () => this.#queues.delete(peer.peerId),
    )
    return true
  }

  onFrame(handler: (from: string, frame: Uint8Array) => void): void {
    this.#onFrame = handler
  }

  async openStream(
    peer: PeerRef,
    protocol: StreamProtocol,
    options: { signal: AbortSignal },
  ): Promise<ByteStream> {
    await this.connect(peer, options)
    const node = this.#net.node(peer.peerId)!
    const connection = this.#connections.get(peer.peerId)!
    const send = (from: FakeNode, to: FakeNode) => (run: () => void) =>
      this.#net.send(from, to, run)
    const pipe = new FakePipe(
      { one: this.peerId, other: peer.peerId },
      { toOther: send(this, node), toOne: send(node, this) },
    )
    connection.pipes.add(pipe)
    this.#net.send(this, node, () => node.#serveStream(protocol, pipe))
    return pipe.one
  }

  onStream(protocol: StreamProtocol, handler: (stream: ByteStream) => Promise<void>): void {
    this.#streamHandlers.set(protocol, handler)
  }

  publish(facts: Facts): void {
    const text = JSON.stringify(facts)
    if (this.alive && text.length <= 16 << 10)
      this.#spread(text, this.peerId, new Set([this.peerId]))
  }

  onFacts(handler: (from: string, facts: unknown) => void): void {
    this.#onFacts.push(handler)
  }

  on<K extends keyof MeshEvents>(event: K, handler: (value: MeshEvents[K]) => void): void {
    this.#listeners[event].push(handler)
  }

  discovery(): ReturnType<Mesh["discovery"]> {
    const seeds = this.#options.seeds ?? []
    if (this.#options.mdns) return { mdns: "on", seeds }
    return { mdns: "off", reason: "mDNS is switched off", seeds }
  }

  connectionTo = (peerId: string): FakeConnection | undefined => this.#connections.get(peerId)

  /** The connection to this peer is gone, as this side learns it. */
  lost(peerId: string, refused: boolean): void {
    const gone = this.#connections.get(peerId)
    if (!gone) return
    this.#net.arrive(this.peerId, () => {
      const now = this.#connections.get(peerId)
      if (!now) return
      this.#drop(peerId, connectionLost(peerId))
      if (now !== gone) {
        // The other has connected again while this process stood still: only what hung on the old one is over.
        this.#connections.set(peerId, now)
      } else if (this.alive) this.#emit("disconnected", { peerId, refused })
    })
  }

  #drop(peerId: string, error: Error): void {
    const connection = this.#connections.get(peerId)
    this.#connections.delete(peerId)
    for (const pipe of connection?.pipes ?? []) pipe.broken(this.peerId, error)
    for (const pending of this.#pending) if (pending.to === peerId) pending.reject(error)
    for (const [controller, from] of this.#serving) if (from === peerId) controller.abort(error)
  }

  #dial(peerId: string): Promise<void> {
    if (this.#connections.has(peerId)) return Promise.resolve()
    const running = this.#dials.get(peerId)
    if (running) return running
    const dial = this.#dialOnce(peerId).finally(() => this.#dials.delete(peerId))
    this.#dials.set(peerId, dial)
    return dial
  }

  async #dialOnce(peerId: string): Promise<void> {
    const { clock } = this.#net
    const address = this.#known.get(peerId)
    if (address === undefined) throw notConnected(peerId, "no address is known")
    if (clock.boottime() < (this.#notBefore.get(peerId) ?? 0)) {
      throw notConnected(peerId, "it did not answer just now")
    }
    try {
      const node = await this.#reach(address)
      if (node.peerId !== peerId) throw new Error("another peer answers there")
    } catch (error) {
      this.#notBefore.set(peerId, clock.boottime() + backoffMs)
      throw notConnected(peerId, error)
    }
  }

  /** A dial to an address: refused, unanswered, or connected. */
  async #reach(address: string): Promise<FakeNode> {
    const { clock, options } = this.#net
    const host = this.#net.listener(address)
    if (!host || !this.#net.bothWays(this.peerId, host.peerId)) {
      await clock.sleep(options.dialMs)
      throw new Error("nobody answered")
    }
    await clock.sleep(this.#net.delay() + this.#net.delay())
    const node = this.#net.listener(address)
    if (!this.alive) throw stopped()
    if (!node?.alive) throw new Error("connection refused")
    if (node !== this && !this.#connections.has(node.peerId)) this.#join(node)
    return node
  }

  #join(node: FakeNode): void {
    const connection = { dialler: this.peerId, pipes: new Set<FakePipe>() }
    // A process that died and came back may still be mourned on the other side.
    node.lost(this.peerId, false)
    this.#connections.set(node.peerId, connection)
    node.#connections.set(this.peerId, connection)
    const stranger = !node.#known.has(this.peerId)
    node.#known.set(this.peerId, this.address)
    this.#known.set(node.peerId, node.address)
    this.#emit("connected", { peerId: node.peerId, address: node.address, outbound: true })
    node.#emit("connected", { peerId: this.peerId, address: this.address, outbound: false })
    if (stranger) node.#discovered(this)
  }

  #flush(peer: PeerRef): void {
    const queue = this.#queues.get(peer.peerId) ?? []
    this.#queues.delete(peer.peerId)
    for (const frame of queue) this.sendFrame(peer, frame)
  }

  /** Resolves with what to do at the asking side. */
  async #serve(
    from: FakeNode,
    asked: { protocol: RequestProtocol; payload: Uint8Array; cancel: AbortController },
  ): Promise<(answer: PromiseWithResolvers<Uint8Array>) => void> {
    const handler = this.#handlers.get(asked.protocol)
    this.#serving.set(asked.cancel, from.peerId)
    try {
      if (!handler) throw new Error("not served")
      const bytes = await handler(from.peerId, asked.payload, { signal: asked.cancel.signal })
      if (bytes.length > limits.bytes) throw tooLarge("an answer", limits.bytes)
      const copy = bytes.slice()
      return (answer) => answer.resolve(copy)
    } catch (error) {
      // As it would travel.
      const failure = encodeFailure(error, asked.protocol)
      return (answer) => answer.reject(decodeFailure(failure, asked.protocol))
    } finally {
      this.#serving.delete(asked.cancel)
    }
  }

  #serveStream(protocol: StreamProtocol, pipe: FakePipe): void {
    const handler = this.#streamHandlers.get(protocol)
    const refuse = (error: unknown) => pipe.other.abort(error as Error)
    if (!handler) return refuse(new Error("not served"))
    handler(pipe.other)
      .then(() => pipe.other.end())
      .catch(refuse)
  }

  #spread(text: string, author: string, seen: Set<string>): void {
    for (const other of this.#connections.keys()) {
      const node = this.#net.node(other)
      if (!node || seen.has(other)) continue
      seen.add(other)
      this.#net.send(this, node, () => {
        for (const handler of node.#onFacts) handler(author, JSON.parse(text))
        node.#spread(text, author, seen)
      })
    }
  }

  /** Everybody whom both queries and answers reach hears of everybody. */
  #announce(): void {
    for (const node of this.#net.all()) {
      const same = node.#options.mdns && node.#options.cluster === this.#options.cluster
      if (node === this || !same || !node.alive) continue
      if (!this.#net.bothWays(this.peerId, node.peerId)) continue
      this.#net.clock.after(this.#net.delay(), () => this.#discovered(node))
      this.#net.clock.after(this.#net.delay(), () => node.#discovered(this))
    }
  }

  #follow(seed: string): void {
    const known = this.#net.listener(seed)
    if (!this.alive || known === this || (known && this.#connections.has(known.peerId))) return
    this.#reach(seed).then(
      (node) => this.#discovered(node),
      // Asked again by the next turn of its timer.
      () => undefined,
    )
  }

  #discovered(node: FakeNode): void {
    if (!this.alive || node === this) return
    this.#known.set(node.peerId, node.address)
    this.#emit("discovered", { peerId: node.peerId, addresses: [node.address] })
  }

  #emit<K extends keyof MeshEvents>(event: K, value: MeshEvents[K]): void {
    for (const listener of this.#listeners[event]) listener(value)
  }

  #running(): void {
    if (!this.alive) throw stopped()
  }
}
