/** What a replica shows of itself: nothing here changes it. */
import type { ProgressView, RaftStatus } from "../consensus/index.ts"
import type { PeerRef } from "../schema/index.ts"
import type { Tables, View } from "../state/index.ts"
import type { LogMark } from "../wire/index.ts"
import type { Pace } from "./patience.ts"
import type { LogDriver } from "./replica-log.ts"
import { peerOf, type Pieces } from "./replica-pieces.ts"

export class ReplicaViews {
  readonly #shown: Pieces

  constructor(pieces: Pieces) {
    this.#shown = pieces
  }

  /** End of what is durable here. */
  last(): { readonly term: number; readonly index: number } {
    const { memory } = this.#shown
    const index = memory.lastIndex()
    const term = memory.term(index)
    return { index, term: typeof term === "number" ? term : 0 }
  }

  status(): RaftStatus {
    return this.#shown.raft.status()
  }

  progress(): readonly ProgressView[] {
    return this.status().progress
  }

  /** Replicas that hold `index`. */
  copies(index: number): number {
    return this.progress().filter((peer) => peer.match >= index).length
  }

  get leader(): number {
    return this.#shown.leading.leader
  }

  get term(): number {
    return this.#shown.leading.term
  }

  isLeading(): boolean {
    return this.#shown.leading.isOwn
  }

  get tables(): Tables {
    return this.#shown.tables.view
  }

  get applied(): LogMark {
    return this.#shown.tables.applied
  }

  /** A view that has all rows of this run: those of finished runs are on disk only. */
  async viewOf(run: string): Promise<View> {
    return await this.#shown.tables.viewOf(run)
  }

  /** Keys of rows below a prefix as they are on disk, which is as far as was applied when it was asked, or further. */
  keysOnDisk(prefix: string): AsyncIterable<string> {
    return this.#shown.tables.keysOnDisk(prefix)
  }

  /** Own hash of all rows after the entry `index`, which asked for it; undefined when it is not known here (any more). */
  async hashAt(index: number, signal: AbortSignal): Promise<string | undefined> {
    const { waiters, tables } = this.#shown
    if (this.applied.index < index) await waiters.applied(index, signal)
    return await tables.hashAt(index)
  }

  /** Undefined also of a member whose node is another member now. */
  peerOf(id: number): PeerRef | undefined {
    return peerOf(this.#shown, id)
  }

  /** The election timeout that counts now. */
  get pace(): Pace {
    return this.#shown.pace.pace
  }

  /** How often nothing ran here for longer than half of it. */
  get gaps(): number {
    return this.#shown.pace.gaps
  }

  /** Of the last moments; what was slow an hour ago is not slow now. */
  fsyncP99Ms(): number {
    return this.#shown.strain.fsyncP99Ms()
  }

  logBytes(): number {
    return this.#shown.parts.log.stats().bytes
  }

  /** What waits here: batches for the disk, proposals and reads for their answers. */
  waiting(): ReturnType<LogDriver["pending"]> & {
    readonly proposals: number
    readonly reads: number
  } {
    const { log, proposals, waiters } = this.#shown
    return { ...log.pending(), proposals: proposals.size, reads: waiters.reads }
  }
}
