/** What the leader knows of one member's log, and what it may send next (C-17). Invariant: match < next. */
import type { ProgressView } from "./types.ts"

/** Unanswered appends to one member, bounded by count and by bytes. */
export class Inflights {
  readonly #maxCount: number
  readonly #maxBytes: number
  #items: { readonly index: number; readonly bytes: number }[] = []
  #bytes = 0

  constructor(limits: InflightLimits) {
    this.#maxCount = limits.maxInflightMsgs
    this.#maxBytes = limits.maxInflightBytes
  }

  get count(): number {
    return this.#items.length
  }

  full(): boolean {
    return this.#items.length >= this.#maxCount || this.#bytes >= this.#maxBytes
  }

  /** The last index of a message just sent, and its weight. */
  add(index: number, bytes: number): void {
    if (this.full()) throw new Error("an append was sent past the inflight window")
    this.#items.push({ index, bytes })
    this.#bytes += bytes
  }

  /** Everything up to this index was answered. */
  free(index: number): void {
    let freed = 0
    while (freed < this.#items.length && this.#items[freed]!.index <= index) {
      this.#bytes -= this.#items[freed]!.bytes
      freed++
    }
    if (freed > 0) this.#items.splice(0, freed)
  }

  clear(): void {
    this.#items = []
    this.#bytes = 0
  }
}

export interface InflightLimits {
  readonly maxInflightMsgs: number
  /** Infinity: no limit. */
  readonly maxInflightBytes: number
}

export class Progress {
  match: number
  next: number
  state: ProgressView["state"] = "StateProbe"
  /** Highest commit index that is on its way or known there. */
  sentCommit = 0
  pendingSnapshot = 0
  /** Heard since the last check of the quorum. */
  recentActive: boolean
  /** One probe is out, or the window is full: wait for an answer or a heartbeat. */
  flowPaused = false
  /** It has acknowledged or committed what this leader's log has not: another past. Nothing more goes to it. */
  diverged = false
  isLearner: boolean
  /** Replication session: answers of another session are ignored (C-19). 0 until the core numbers it. */
  epoch = 0
  readonly inflights: Inflights

  constructor(
    start: { match: number; next: number; isLearner: boolean; recentActive: boolean },
    inflights: Inflights,
  ) {
    this.match = start.match
    this.next = start.next
    this.isLearner = start.isLearner
    this.recentActive = start.recentActive
    this.inflights = inflights
  }

  #enter(state: ProgressView["state"]): void {
    this.state = state
    this.flowPaused = false
    this.pendingSnapshot = 0
    this.inflights.clear()
  }

  becomeProbe(): void {
    // After a snapshot the member is known to hold what the snapshot covered.
    const afterSnapshot = this.state === "StateSnapshot" ? this.pendingSnapshot + 1 : 0
    this.#enter("StateProbe")
    this.next = Math.max(this.match + 1, afterSnapshot)
    this.sentCommit = Math.min(this.sentCommit, this.next - 1)
  }

  becomeReplicate(): void {
    this.#enter("StateReplicate")
    this.next = this.match + 1
  }

  becomeSnapshot(index: number): void {
    this.#enter("StateSnapshot")
    this.pendingSnapshot = index
    this.next = index + 1
    this.sentCommit = index
  }

  paused(): boolean {
    return this.state === "StateSnapshot" || this.flowPaused || this.diverged
  }

  sentEntries(count: number, bytes: number): void {
    if (this.state === "StateProbe") {
      if (count > 0) this.flowPaused = true
      return
    }
    if (count > 0) {
      this.next += count
      this.inflights.add(this.next - 1, bytes)
    }
    this.flowPaused = this.inflights.full()
  }

  /** The member holds everything up to index. False when that is old news. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false
    this.match = index
    this.next = Math.max(this.next, index + 1)
    this.flowPaused = false
    return true
  }

  /** An append after `rejected` was refused; `hint` is where the logs may meet. False when the refusal is stale. */
  maybeDecrease(rejected: number, hint: number): boolean {
    if (this.state === "StateReplicate") {
      if (rejected <= this.match) return false
      this.next = this.match + 1
    } else {
      if (this.next - 1 !== rejected) return false
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1)
      this.flowPaused = false
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1)
    return true
  }

  /** Would a message with this commit index tell the member something new? */
  canBumpCommit(index: number): boolean {
    return index > this.sentCommit && this.sentCommit < this.next - 1
  }

  /** For a changed membership: same session, same window. */
  clone(): Progress {
    const copy = new Progress(this, this.inflights)
    copy.state = this.state
    copy.sentCommit = this.sentCommit
    copy.pendingSnapshot = this.pendingSnapshot
    copy.flowPaused = this.flowPaused
    copy.diverged = this.diverged
    copy.epoch = this.epoch
    return copy
  }

  /** As etcd prints it. */
  describe(): string {
    let text = `${this.state} match=${this.match} next=${this.next}`
    if (this.isLearner) text += " learner"
    if (this.paused()) text += " paused"
    if (this.pendingSnapshot > 0) text += ` pendingSnap=${this.pendingSnapshot}`
    if (this.diverged) text += " diverged"
    if (!this.recentActive) text += " inactive"
    if (this.inflights.count > 0) {
      text += ` inflight=${this.inflights.count}${this.inflights.full() ? "[full]" : ""}`
    }
    return text
  }
}
