/** What raft wants on disk: one batch after the other, each answered only when it is durable. */
import type { Entry, HardState, MemoryStorage, Message, Snapshot } from "../consensus/index.ts"
import type { Clock } from "../platform/index.ts"
import type { LogMark } from "../wire/index.ts"
import type { LogStore } from "./parts.ts"

export interface LogDriverInput {
  readonly log: LogStore
  readonly memory: MemoryStorage
  readonly clock: Clock
  /** Ticks of this replica so far: what stood still with the process is not held against the disk. */
  ticks(): number
  /** A write that takes longer stalls the core's clock. */
  stallTicks(): number
  appended(now: number, ms: number): void
  /** A snapshot's rows go into the tables before anything answers for it. */
  install(meta: LogMark): Promise<void>
  /** Runs `work` and then the pump. */
  input(work: () => void): void
  deliver(response: Message): void
  failed(error: Error): void
}

/** Answers that say nothing beyond what earlier batches made durable. */
const settlesByOrder: ReadonlySet<Message["type"]> = new Set(["MsgAppResp", "MsgStorageAppendResp"])

export class LogDriver {
  readonly #input: LogDriverInput
  #storing: Promise<void> = Promise.resolve()
  /** What the core wants on disk, and what of it was handed to the log. */
  #hardState: HardState
  #written: HardState
  /** Each batch that is not durable yet, oldest first. */
  readonly #pending: { readonly at: number; readonly ticks: number }[] = []
  /** When a batch became durable last. */
  #doneTicks = 0

  constructor(input: LogDriverInput) {
    this.#input = input
    this.#hardState = input.memory.initialState().hardState
    this.#written = this.#hardState
  }

  /** Nothing becomes durable though something waits. A batch that waits for slow ones before it is not held up by a disk
   *  that hangs. */
  isStalled(): boolean {
    const [oldest] = this.#pending
    if (oldest === undefined) return false
    const since = Math.max(oldest.ticks, this.#doneTicks)
    return this.#input.ticks() - since > this.#input.stallTicks()
  }

  /** Batches that are not durable yet, and for how long the oldest one has waited. */
  pending(): { readonly batches: number; readonly oldestMs: number } {
    const [oldest] = this.#pending
    const oldestMs = oldest ? this.#input.clock.boottime() - oldest.at : 0
    return { batches: this.#pending.length, oldestMs }
  }

  /** Responses are stepped only after the batch is durable; batches are in order. */
  store(message: Message): void {
    const { entries = [], snapshot, responses = [] } = message
    const hasState = (message.term ?? 0) > 0 || (message.commit ?? 0) > 0 || (message.vote ?? 0) > 0
    const hardState = hasState
      ? { term: message.term ?? 0, vote: message.vote ?? 0, commit: message.commit ?? 0 }
      : undefined
    if (hardState) this.#hardState = hardState
    const durable = this.#write(message)
    const store = async (): Promise<void> => {
      await durable
      if (snapshot) await this.#input.install(snapshot.meta)
      this.#input.input(() => {
        this.#remember({ entries, hardState, snapshot })
        for (const response of responses) this.#input.deliver(response)
      })
    }
    // Chained: a snapshot's installation must end before a later batch answers.
    durable.catch(() => undefined) // Reported through the chain below.
    this.#storing = this.#storing.then(store)
    this.#storing.catch((error: Error) => this.#input.failed(error))
  }

  /**
   * A commit index is not worth a write: it travels with the next one, and after a crash the leader tells it again.
   * Answers to an append that brought nothing new wait only for the batches before it.
   */
  async #write({ entries = [], snapshot, responses = [] }: Message): Promise<void> {
    const { term, vote } = this.#hardState
    const isSame = term === this.#written.term && vote === this.#written.vote
    const isQuiet = responses.every(({ type }) => settlesByOrder.has(type))
    if (isSame && isQuiet && entries.length === 0 && !snapshot) return
    const hardState = this.#hardState === this.#written ? undefined : this.#hardState
    this.#written = this.#hardState
    const { clock } = this.#input
    const at = clock.boottime()
    this.#pending.push({ at, ticks: this.#input.ticks() })
    await this.#input.log.append({ hardState, entries, snapshot: snapshot?.meta })
    this.#pending.shift()
    this.#doneTicks = this.#input.ticks()
    const now = clock.boottime()
    this.#input.appended(now, now - at)
  }

  /** The core reads what is durable from memory. */
  #remember(batch: {
    readonly entries: readonly Entry[]
    readonly hardState: HardState | undefined
    readonly snapshot: Snapshot | undefined
  }): void {
    const { memory } = this.#input
    if (batch.snapshot) memory.applySnapshot(batch.snapshot)
    if (batch.entries.length > 0) memory.append(batch.entries)
    if (batch.hardState) memory.setHardState(batch.hardState)
  }

  /** Ends when everything that was handed in has ended, well or badly. */
  async settled(): Promise<void> {
    await this.#storing.catch(() => undefined) // Already told by failed.
  }
}
