/** Which facts are accepted, and how few are told. */
import type { GossipSub, Message } from "@libp2p/gossipsub"
import { expect, test } from "vitest"
import { Gossip } from "../../../src/mesh/gossip.ts"
import { peerIdFromString } from "@libp2p/peer-id"
import { generateKey, peerIdOfKey } from "../../../src/mesh/index.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

const author = peerIdFromString(peerIdOfKey(generateKey()))
const topic = "troupe/lab/facts"

/** A JSON object of so many bytes. */
const long = (length: number) => JSON.stringify({ a: "x".repeat(length - 8) })

/** The little of gossipsub that Gossip uses. */
class Wire extends EventTarget {
  readonly topicValidators = new Map<string, (source: unknown, message: Message) => unknown>()
  readonly subscribed: string[] = []
  readonly published: string[] = []
  gate: Promise<void> = Promise.resolve()

  subscribe(name: string): void {
    this.subscribed.push(name)
  }

  async publish(_topic: string, data: Uint8Array): Promise<{ recipients: [] }> {
    this.published.push(new TextDecoder().decode(data))
    await this.gate
    return { recipients: [] }
  }

  judge(data: string | Uint8Array, more: object = {}): unknown {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data
    const message = { type: "signed", from: author, topic, data: bytes, ...more }
    return this.topicValidators.get(topic)!(author, message as never)
  }
}

function world() {
  const clock = new VirtualClock()
  const wire = new Wire()
  const gossip = new Gossip("lab", { clock, logger: silentLogger })
  gossip.start(wire as Partial<GossipSub> as GossipSub)
  return { clock, wire, gossip }
}

test("each cluster has its topic", () => {
  expect(world().wire.subscribed).toEqual([topic])
})

test("only signed, small objects pass", () => {
  const { wire } = world()
  expect(wire.judge('{"a":1}')).toBe("accept")
  expect(wire.judge(long(16 << 10))).toBe("accept")
  expect(wire.judge(long((16 << 10) + 1))).toBe("reject")
  expect(wire.judge("[1]")).toBe("reject")
  expect(wire.judge("null")).toBe("reject")
  expect(wire.judge("{")).toBe("reject")
  expect(wire.judge(Uint8Array.of(0xff, 0xfe))).toBe("reject")
  expect(wire.judge("{}", { type: "unsigned" })).toBe("reject")
})

test("an author has a burst of twenty, and five a second", async () => {
  const { clock, wire } = world()
  const accepted = (count: number) =>
    Array.from({ length: count }, () => wire.judge("{}")).filter((result) => result === "accept")
  expect(accepted(30)).toHaveLength(20)
  await clock.pass(1000)
  expect(accepted(30)).toHaveLength(5)
  // Another author has a measure of his own.
  const other = peerIdFromString(peerIdOfKey(generateKey()))
  expect(wire.judge("{}", { from: other })).toBe("accept")
})

test("while one is being told only the newest of the others waits", async () => {
  const { clock, wire, gossip } = world()
  const gate = Promise.withResolvers<void>()
  wire.gate = gate.promise
  for (const n of [1, 2, 3]) gossip.publish({ n })
  expect(wire.published).toEqual(['{"n":1}'])
  gate.resolve()
  await clock.pass(0)
  expect(wire.published).toEqual(['{"n":1}', '{"n":3}'])
})

test("facts that are too large are not told", () => {
  const { wire, gossip } = world()
  gossip.publish({ a: "x".repeat(16 << 10) })
  expect(wire.published).toEqual([])
})
