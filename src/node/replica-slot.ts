/** The replica of this node, while it has one: opened when it founds or a leader writes to it, closed when it is done with. */
import { CodecError } from "../lib/index.ts"
import type { Identity, Member } from "../schema/index.ts"
import { type Command, readMembers } from "../state/index.ts"
import { decodeFrame } from "../wire/index.ts"
import type { NodeOptions } from "./options.ts"
import type { ByteStream, Parts } from "./parts.ts"
import type { ReplicaEvents } from "./replica-options.ts"
import { lossOf } from "./rejoining.ts"
import { Replica } from "./replica.ts"
import type { Roster } from "./roster.ts"
import { serveSnapshot } from "./snapshots.ts"

export interface ReplicaSlotParts {
  readonly options: NodeOptions
  readonly parts: Parts
  readonly events: ReplicaEvents
  readonly roster: Roster
  identity(): Identity | undefined
  /** This start of the node. */
  boot(): string
}

export class ReplicaSlot {
  readonly #slot: ReplicaSlotParts
  #replica: Replica | undefined
  #opening: Promise<void> | undefined

  constructor(parts: ReplicaSlotParts) {
    this.#slot = parts
  }

  get current(): Replica | undefined {
    return this.#replica
  }

  /** `genesis`: a new cluster of one. */
  open(identity: Identity, genesis?: Command): Promise<void> {
    const { options, parts, roster } = this.#slot
    const { clusterId, memberId } = identity
    const open = async (): Promise<void> => {
      await parts.local.put("replica", clusterId)
      const stores = parts.stores()
      try {
        this.#replica = await Replica.open(
          {
            clusterId,
            memberId,
            timing: options.timing,
            boot: this.#slot.boot(),
            ...(genesis && { genesis }),
            roster: (id) => roster.members.find((member) => member.id === id),
            logLimits: options.logLimits,
            versions: options.versions,
          },
          { ...parts, ...stores },
          this.#events(),
        )
      } catch (error) {
        // Nothing of it stays open: it may be put aside now.
        await stores.log.close()
        await stores.tables.close()
        throw error
      }
    }
    this.#opening = open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  /** Who the others are must be known without log and tables, too: these may be lost. */
  #events(): ReplicaEvents {
    const { events, roster, parts } = this.#slot
    return {
      ...events,
      applied: (index, applied) => {
        events.applied(index, applied)
        const replica = this.#replica
        if (!replica || !applied.events.some(({ type }) => type === "members-changed")) return
        roster.learn(readMembers(replica.tables), index).catch((error: unknown) => {
          parts.logger.warn("the roster could not be kept", { error: String(error) })
        })
      },
    }
  }

  /** Called with every lease: a replica that the cluster goes on without is closed, and this node is a worker. Its data
   *  stay, so that it opens as it was when a leader writes to it again: nothing that it promised is forgotten. */
  async retire(members: readonly Member[]): Promise<void> {
    const replica = this.#replica
    if (!replica || this.#opening || replica.leader !== 0) return
    if (members.find(({ id }) => id === replica.memberId)?.role !== "worker") return
    this.#slot.parts.logger.info("no longer a replica", { memberId: replica.memberId })
    await this.#slot.roster.learn(members, replica.applied.index)
    this.#replica = undefined
    const close = async (): Promise<void> => {
      await this.#slot.parts.local.delete("replica")
      await replica.stop()
    }
    this.#opening = close().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  /** Whatever is under way ends first. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined) // Told where it was opened.
    await this.#replica?.stop()
    this.#replica = undefined
  }

  handleFrame(from: string, frame: Uint8Array): void {
    try {
      if (this.#replica) this.#replica.handleFrame(from, frame)
      else void this.#openFor(frame)
    } catch (error) {
      if (!(error instanceof CodecError)) throw error
      const { logger } = this.#slot.parts
      logger.warn("a frame was not understood", { peer: from, error: error.message })
    }
  }

  /** A leader that writes to us has made us a replica: open one. What arrives meanwhile is sent again. */
  async #openFor(frame: Uint8Array): Promise<void> {
    const identity = this.#slot.identity()
    if (!identity || this.#opening || this.#replica) return
    const { clusterId, to } = decodeFrame(frame)
    if (clusterId !== identity.clusterId || to !== identity.memberId) return
    try {
      await this.open(identity)
    } catch (error) {
      const loss = lossOf(error)
      if (loss === undefined) this.#slot.parts.fatal(74, error as Error)
      else this.#slot.events.lost(loss)
    }
  }

  async handleSnapshot(stream: ByteStream): Promise<void> {
    await serveSnapshot(stream, this.#slot.parts.clock, async (header) => {
      await this.#openFor(header)
      await this.#opening
      const replica = this.#replica
      if (!replica) throw new Error("no replica here")
      const { peerId } = stream
      return {
        held: () => replica.heldOf(header),
        take: (chunks, chunk) => replica.handleSnapshot(header, chunks, { peerId, chunk }),
      }
    })
  }
}
