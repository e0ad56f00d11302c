/** Which frames reach the core: addressed to this member, from whom they say, of a start that is no older copy of a disk,
 *  and saying nothing that one side's log can no longer know. */
import type { Message } from "../consensus/index.ts"
import type { Clock, Logger } from "../platform/index.ts"
import type { PeerRef } from "../schema/index.ts"
import { decodeFrame, type Frame } from "../wire/index.ts"
import { Boots, type BootTag, type Outdated } from "./boots.ts"

export interface GateInput {
  readonly clusterId: string
  readonly memberId: number
  readonly clock: Clock
  readonly logger: Logger
  peerOf(id: number): PeerRef | undefined
  /** The boot of a member's session, as the tables have it. */
  sessionBoot(id: number): string | undefined
  position(): { readonly term: number; readonly lastIndex: number; readonly isLeading: boolean }
  outdated(peer: PeerRef, outdated: Outdated): void
  /** This replica lacks what it had acknowledged. */
  lose(reason: string): void
}

export class Gate {
  readonly #input: GateInput
  readonly #boots = new Boots()

  constructor(input: GateInput) {
    this.#input = input
  }

  /** The message of a frame from this peer, if it may be stepped. CodecError for what is no frame. */
  message(from: string, frame: Uint8Array): Message | undefined {
    const envelope = this.#addressed(frame)
    if (!envelope || this.#input.peerOf(envelope.from)?.peerId !== from) return undefined
    const { message } = envelope
    // Nobody speaks for another member, and a snapshot comes by its own stream.
    if (message.from !== envelope.from || message.type === "MsgSnap") return undefined
    const boot = envelope.boot ?? 0
    return this.isCurrent(envelope.from, boot) && this.#isTrue(message, boot) ? message : undefined
  }

  /** The message that announces a snapshot. Its sender may be one that the tables, which it replaces, do not know. */
  announcement(from: string, header: Uint8Array): Message | undefined {
    const envelope = this.#addressed(header)
    if (!envelope) return undefined
    const sender = this.#input.peerOf(envelope.from)
    if (sender && sender.peerId !== from) return undefined
    return this.isCurrent(envelope.from, envelope.boot ?? 0) ? envelope.message : undefined
  }

  #addressed(frame: Uint8Array): Frame | undefined {
    const envelope = decodeFrame(frame)
    const { clusterId, memberId } = this.#input
    return envelope.clusterId === clusterId && envelope.to === memberId ? envelope : undefined
  }

  /** Whether a member speaks as the start of it that is known; one on an older copy of its disk is told. */
  isCurrent(id: number, boot: BootTag): boolean {
    const reason = this.#boots.refusal(id, boot, this.#input.sessionBoot(id))
    if (reason !== undefined) this.#tell(id, boot, reason)
    return reason === undefined
  }

  #tell(memberId: number, boot: BootTag, reason: string): void {
    const { clock, logger } = this.#input
    const peer = this.#input.peerOf(memberId)
    if (!peer || !this.#boots.mayTell(memberId, clock.boottime())) return
    logger.warn("a member is not what it was", { memberId, reason })
    this.#input.outdated(peer, { memberId, boot, reason })
  }

  /** False: one side of this message has lost what it had acknowledged, so nothing may follow from it. */
  #isTrue(message: Message, boot: BootTag): boolean {
    const { type, from, term = 0, commit = 0, index = 0, reject = false } = message
    if (type !== "MsgHeartbeat" && type !== "MsgAppResp") return true
    const { term: ours, lastIndex, isLeading } = this.#input.position()
    // A leader names to each member only what that member had acknowledged to it in this term.
    if (type === "MsgHeartbeat" && term >= ours && commit > lastIndex) {
      this.#input.lose(
        `the leader knows that ${commit} was durable here, the log ends at ${lastIndex}`,
      )
      return false
    }
    if (type !== "MsgAppResp" || term !== ours || !isLeading) return true
    if (!reject) {
      this.#boots.acknowledged(from, { term, boot, index })
      return true
    }
    const reason = this.#boots.lost(from, { term, boot, index: message.rejectHint ?? 0 })
    if (reason !== undefined) this.#tell(from, boot, reason)
    return reason === undefined
  }
}
