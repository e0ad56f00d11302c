/** Messages of one replica on their way to its peers. */
import type { Message } from "../consensus/index.ts"
import type { PeerRef } from "../schema/index.ts"
import { encodeFrame } from "../wire/index.ts"
import type { Parts, ReplicaStores } from "./parts.ts"
import { createSnapshotSender, type Delivery } from "./snapshots.ts"

export interface OutboxInput {
  readonly parts: Parts & ReplicaStores
  readonly clusterId: string
  readonly memberId: number
  /** Of this start; 0 while members may not understand it. */
  boot(): number
  peerOf(id: number): PeerRef | undefined
  /** An append was dropped: the follower's progress must not stay optimistic. */
  unreachable(id: number): void
  snapshotSent(id: number, index: number, delivery: Delivery): void
  /** A leader whose disk hangs must not be taken for one that works: no appends, no heartbeats (C-24). */
  isMuted(): boolean
  sentHeartbeat(id: number): void
}

export type Outbox = (message: Message) => void

/** A follower hears of a commit with the next entries, or after this. */
const commitDelayMs = 10

/** Frames go at once or not at all; a snapshot has a stream of its own. */
export function createOutbox(input: OutboxInput): Outbox {
  const { parts, clusterId, memberId } = input
  const frame = (message: Message): Uint8Array =>
    encodeFrame({
      version: 1,
      clusterId,
      incarnation: 0,
      to: message.to,
      from: memberId,
      boot: input.boot(),
      message,
    })
  const sendSnapshot = createSnapshotSender(parts, frame)
  const ship = async (peer: PeerRef, message: Message): Promise<void> => {
    const { index } = message.snapshot!.meta
    input.snapshotSent(message.to, index, await sendSnapshot(peer, message))
  }
  // An append without entries only tells the commit index: under load the next entries tell it just as soon.
  const held = new Map<number, { message: Message; until: number }>()
  const timed = new Set<number>()
  const { clock } = parts
  const release = (to: number): void => {
    timed.delete(to)
    const waiting = held.get(to)
    if (!waiting) return
    const left = waiting.until - clock.boottime()
    if (left > 0) {
      wait(to, left)
      return
    }
    held.delete(to)
    send(waiting.message)
  }
  /** One timer a peer: what it was set for may have left with other entries meanwhile. */
  const wait = (to: number, ms: number): void => {
    if (timed.has(to)) return
    timed.add(to)
    clock.after(ms, () => release(to))
  }
  const send = (message: Message): void => {
    const peer = input.peerOf(message.to)
    if (!peer) return
    if (message.type === "MsgSnap") {
      void ship(peer, message)
      return
    }
    const { type } = message
    if (type === "MsgHeartbeat" && parts.mesh.addressOf(peer.peerId) !== undefined) {
      input.sentHeartbeat(message.to)
    }
    const isLeading = type === "MsgApp" || type === "MsgHeartbeat"
    const isSent = !(isLeading && input.isMuted()) && parts.mesh.sendFrame(peer, frame(message))
    if (!isSent && type === "MsgApp") {
      queueMicrotask(() => input.unreachable(message.to))
    }
  }
  return (message) => {
    if (isBare(message)) {
      const { to } = message
      const until = held.get(to)?.until ?? clock.boottime() + commitDelayMs
      held.set(to, { message, until })
      wait(to, commitDelayMs)
      return
    }
    if (message.type === "MsgApp") held.delete(message.to)
    send(message)
  }
}

function isBare({ type, entries = [] }: Message): boolean {
  return type === "MsgApp" && entries.length === 0
}
