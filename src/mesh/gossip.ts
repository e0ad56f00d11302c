/** Facts by gossip: signed, small, and no more of them than anybody needs. Hints, never membership. */
import { type GossipSub, type Message, TopicValidatorResult } from "@libp2p/gossipsub"
import type { Clock, Logger } from "../platform/index.ts"
import { meshLimits } from "./limits.ts"

interface Bucket {
  tokens: number
  at: number
}

const decoder = new TextDecoder("utf-8", { fatal: true })

export class Gossip {
  readonly #topic: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #buckets = new Map<string, Bucket>()
  readonly #listeners: ((from: string, facts: unknown) => void)[] = []
  #pubsub: GossipSub | undefined
  /** Only the newest of what waits is of interest. */
  #next: Uint8Array | undefined
  #publishing = false

  constructor(cluster: string, parts: { clock: Clock; logger: Logger }) {
    this.#topic = `troupe/${cluster}/facts`
    this.#clock = parts.clock
    this.#logger = parts.logger
  }

  onFacts(listener: (from: string, facts: unknown) => void): void {
    this.#listeners.push(listener)
  }

  start(pubsub: GossipSub): void {
    this.#pubsub = pubsub
    pubsub.topicValidators.set(this.#topic, (_source, message) => this.#validate(message))
    pubsub.addEventListener("message", ({ detail }) => this.#received(detail))
    pubsub.subscribe(this.#topic)
  }

  stop(): void {
    this.#pubsub = undefined
    this.#next = undefined
  }

  publish(facts: object): void {
    const bytes = new TextEncoder().encode(JSON.stringify(facts))
    if (bytes.length > meshLimits.gossipBytesMax) {
      this.#logger.warn("facts are too large to be told", { bytes: bytes.length })
      return
    }
    this.#next = bytes
    if (!this.#publishing) void this.#drain()
  }

  async #drain(): Promise<void> {
    this.#publishing = true
    while (this.#pubsub && this.#next) {
      const bytes = this.#next
      this.#next = undefined
      try {
        await this.#pubsub.publish(this.#topic, bytes)
      } catch (error) {
        this.#logger.debug("facts could not be told", { error: String(error) })
      }
    }
    this.#publishing = false
  }

  /** Rejected messages cost their sender standing; too many are only not passed on. */
  #validate(message: Message): TopicValidatorResult {
    if (message.type !== "signed") return TopicValidatorResult.Reject
    if (message.data.length > meshLimits.gossipBytesMax) return TopicValidatorResult.Reject
    if (parse(message.data) === undefined) return TopicValidatorResult.Reject
    const allowed = this.#allow(message.from.toString())
    return allowed ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore
  }

  #received(message: Message): void {
    if (message.topic !== this.#topic || message.type !== "signed") return
    const facts = parse(message.data)
    if (facts === undefined) return
    for (const listener of this.#listeners) listener(message.from.toString(), facts)
  }

  #allow(author: string): boolean {
    const now = this.#clock.boottime()
    const bucket = this.#buckets.get(author) ?? { tokens: meshLimits.gossipBurst, at: now }
    const earned = ((now - bucket.at) / 1000) * meshLimits.gossipPerSecond
    bucket.tokens = Math.min(meshLimits.gossipBurst, bucket.tokens + earned)
    bucket.at = now
    this.#buckets.delete(author)
    this.#buckets.set(author, bucket)
    if (this.#buckets.size > meshLimits.peersMax) {
      const [oldest] = this.#buckets.keys()
      this.#buckets.delete(oldest!)
    }
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }
}

function parse(data: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(data))
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    // Not JSON: the same as any other refusal.
    return undefined
  }
}
