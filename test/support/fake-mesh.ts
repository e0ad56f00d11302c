/** A mesh without a network, for simulations: delay, lost frames, cuts in either direction, dead processes and silent
 *  hosts, all by the given clock and dice. Each connection behaves as TCP would: in order, held while cut. */
import type { Mesh, MeshEvents } from "../../src/mesh/index.ts"
import type { Clock, Random } from "../../src/platform/index.ts"
import { FakeNode, type FakeNodeOptions } from "./fake-mesh-node.ts"

export interface FakeNetworkOptions {
  /** One way, ms: from, to. */
  readonly delayMs?: readonly [number, number]
  /** Share of frames that are lost, 0 to 1. Requests and streams never lose anything. */
  readonly frameLoss?: number
  /** Share of the leader's orders and the workers' reports that come once more, up to `echoMs` later; nobody hears the
   *  answer. They reach the receiver of then, whichever life that is. */
  readonly echoes?: number
  readonly echoMs?: number
  /** A dial that nobody answers fails after this. */
  readonly dialMs?: number
  /** A connection over a cut path ends after this. */
  readonly silenceMs?: number
  readonly heldMax?: number
}

export type FakeMesh = Mesh

interface Held {
  readonly from: FakeNode
  readonly to: FakeNode
  readonly run: () => void
}

export class FakeNetwork {
  readonly clock: Clock
  readonly random: Random
  readonly options: Required<FakeNetworkOptions>
  /** The newest process of each peer id, dead or alive. */
  readonly #nodes = new Map<string, FakeNode>()
  /** `from to` of every direction that is cut, and since when. */
  readonly #cuts = new Map<string, number>()
  /** Per direction: what waits for the cut to heal, and when the last message arrives. */
  readonly #held = new Map<string, Held[]>()
  readonly #lastAt = new Map<string, number>()
  /** What arrived at processes that stand still, oldest first. */
  readonly #frozen = new Map<string, (() => void)[]>()

  constructor(parts: { clock: Clock; random: Random }, options: FakeNetworkOptions = {}) {
    this.clock = parts.clock
    this.random = parts.random
    this.options = {
      delayMs: [0.1, 0.3],
      frameLoss: 0,
      echoes: 0,
      echoMs: 30_000,
      dialMs: 2000,
      silenceMs: 5000,
      heldMax: 4096,
      ...options,
    }
  }

  /** Plans the second coming of a message, by dice. */
  echo(come: () => void): void {
    const { echoes, echoMs } = this.options
    if (echoes === 0 || this.random.next() >= echoes) return
    this.clock.after(echoMs * this.random.next(), come)
  }

  /** A process of this peer; one of the same id replaces the dead one. */
  createMesh(options: FakeNodeOptions): FakeMesh {
    if (this.#nodes.get(options.peerId)?.alive) throw new Error(`${options.peerId} runs already`)
    const node = new FakeNode(options, this)
    this.#nodes.set(options.peerId, node)
    return node
  }

  /** kill -9: its host says so to everybody whom it can reach. */
  kill(peerId: string): void {
    this.#nodes.get(peerId)?.die()
  }

  /** The process stands still: its host keeps its connections, and what arrives waits in order. */
  freeze(peerId: string): void {
    if (!this.#frozen.has(peerId)) this.#frozen.set(peerId, [])
  }

  /** Runs what has reached this process, once it goes on. */
  arrive(peerId: string, run: () => void): void {
    const frozen = this.#frozen.get(peerId)
    if (!frozen) run()
    else if (frozen.length < this.options.heldMax) frozen.push(run)
  }

  thaw(peerId: string): void {
    const waiting = this.#frozen.get(peerId) ?? []
    this.#frozen.delete(peerId)
    for (const run of waiting) run()
  }

  /** The connection between these two breaks, as by a reset: both processes live, and may connect again. */
  reset(one: string, other: string): void {
    for (const [here, there] of [
      [one, other],
      [other, one],
    ] as const) {
      this.clock.after(this.delay(), () => this.#nodes.get(here)?.lost(there, false))
    }
  }

  /** Something between them answers for a living host that nobody listens there, as a firewall may. */
  refuse(from: string, to: string): void {
    this.#nodes.get(from)?.lost(to, true)
    this.#nodes.get(to)?.lost(from, false)
  }

  /** From now on nothing goes that way. */
  cut(from: string, to: string): void {
    const key = `${from} ${to}`
    if (this.#cuts.has(key)) return
    const since = this.clock.boottime()
    this.#cuts.set(key, since)
    this.clock.after(this.options.silenceMs, () => {
      if (this.#cuts.get(key) !== since) return
      this.#nodes.get(from)?.lost(to, false)
      this.#nodes.get(to)?.lost(from, false)
    })
  }

  /** Both ways between every peer of one side and every peer of the other. */
  partition(one: readonly string[], other: readonly string[]): void {
    for (const a of one) {
      for (const b of other) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  /** The host falls silent: no answer, no refusal. */
  isolate(peerId: string): void {
    this.partition(
      [peerId],
      [...this.#nodes.keys()].filter((other) => other !== peerId),
    )
  }

  /** Ends one cut, or all. What a connection that still stands held back arrives now. */
  heal(from?: string, to?: string): void {
    const keys = from === undefined ? [...this.#cuts.keys()] : [`${from} ${to}`]
    for (const key of keys) {
      this.#cuts.delete(key)
      const held = this.#held.get(key) ?? []
      this.#held.delete(key)
      for (const message of held) this.send(message.from, message.to, message.run)
    }
  }

  // ------------------------------------------------------------ for FakeNode

  node(peerId: string): FakeNode | undefined {
    return this.#nodes.get(peerId)
  }

  all(): FakeNode[] {
    return [...this.#nodes.values()]
  }

  listener(address: string): FakeNode | undefined {
    const here = this.all().filter((node) => node.address === address)
    // A machine whose data were deleted comes back as another peer.
    return here.find((node) => node.alive) ?? here[0]
  }

  open(from: string, to: string): boolean {
    return !this.#cuts.has(`${from} ${to}`)
  }

  bothWays(one: string, other: string): boolean {
    return this.open(one, other) && this.open(other, one)
  }

  delay(): number {
    const [min, max] = this.options.delayMs
    return min + (max - min) * this.random.next()
  }

  losesFrame(): boolean {
    return this.options.frameLoss > 0 && this.random.next() < this.options.frameLoss
  }

  /** In order in each direction; held while the way is cut; gone with the connection or the process. */
  send(from: FakeNode, to: FakeNode, run: () => void): void {
    const key = `${from.peerId} ${to.peerId}`
    const connection = from.connectionTo(to.peerId)
    if (!connection) return
    const now = this.clock.boottime()
    const at = Math.max(now + this.delay(), this.#lastAt.get(key) ?? 0)
    this.#lastAt.set(key, at)
    this.clock.after(at - now, () => {
      if (!to.alive || to.connectionTo(from.peerId) !== connection) return
      if (this.open(from.peerId, to.peerId)) {
        this.arrive(to.peerId, () => {
          if (to.alive && to.connectionTo(from.peerId) === connection) run()
        })
        return
      }
      const held = this.#held.get(key) ?? []
      this.#held.set(key, held)
      if (held.length < this.options.heldMax) held.push({ from, to, run })
    })
  }
}

export type { FakeNodeOptions, MeshEvents }
