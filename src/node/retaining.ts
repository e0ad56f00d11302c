/** Retention as a duty of the leader: what is too old or too much is named, in small batches, by commands (DESIGN.md §8). */
import type { Run } from "../schema/index.ts"
import {
  activeVersion,
  type CollectItem,
  idempotencyPrefix,
  rowPrefixesOf,
  runPrefix,
  type TableRows,
  wastePrefix,
} from "../state/index.ts"
import { clockSkewMaxMs, clockSkewMs } from "./clock-check.ts"
import { type Duty, inRounds, proposeAndWait } from "./duty.ts"
import { defaultRetention, type Retention } from "./options.ts"

const firstVersion = 2
/** Rows that are looked at in one turn of the main loop: below 1 ms. */
const pageRows = 500
/** Items of one command. Deletions are cheap to apply, but every row is looked up on disk by its replica. */
const batchItems = 128

export class Retaining {
  readonly #duty: Duty
  readonly #retention: Retention
  #note: string | undefined

  constructor(duty: Duty) {
    this.#duty = duty
    this.#retention = duty.context.options.retention ?? defaultRetention
  }

  start(): void {
    const { retainMs } = this.#duty.context.options.timing
    inRounds(this.#duty, retainMs, async () => await this.#round())
  }

  notes(): readonly string[] {
    return this.#note === undefined ? [] : [this.#note]
  }

  async #round(): Promise<void> {
    if (activeVersion(this.#duty.replica.tables) < firstVersion) return
    // What was begun needs no clock.
    await this.#sweep()
    if (!(await this.#mayExpire())) return
    await this.#expireRuns()
    await this.#sweep()
    await this.#expireKeys()
  }

  async #mayExpire(): Promise<boolean> {
    const skew = await clockSkewMs(this.#duty)
    if (skew === undefined) return false
    this.#note = undefined
    if (Math.abs(skew) < clockSkewMaxMs) return true
    const seconds = Math.round(Math.abs(skew) / 1000)
    const side = skew > 0 ? "ahead of" : "behind"
    const { name } = this.#duty.context.options
    this.#note = `the clock of ${name} is ${seconds} s ${side} its voters': nothing expires until it is set`
    this.#duty.context.parts.logger.warn("this clock is wrong; nothing expires", { skewMs: skew })
    return false
  }

  /** This clock, which was just compared: state time never goes back, so one leader's wrong clock would stay in it. */
  #now(): number {
    return this.#duty.context.parts.clock.now()
  }

  async #expireRuns(): Promise<void> {
    const finished: { id: string; endedAt: number }[] = []
    await this.#walk(runPrefix, (_key, value) => {
      const run = value as Run
      if (run.state === "finished" && !run.pinned) {
        finished.push({ id: run.id, endedAt: run.endedAt ?? run.createdAt })
      }
    })
    const oldest = this.#now() - this.#retention.runsMs
    const tooMany = finished.length - this.#retention.runsMax
    // Finished runs stand in the order of their submission; the first to end goes first.
    const expired = finished
      .toSorted((a, b) => a.endedAt - b.endedAt)
      .filter(({ endedAt }, place) => place < tooMany || endedAt < oldest)
    await this.#collect(expired.map(({ id }) => ({ kind: "run", run: id })))
  }

  /** Rows of runs that are gone: named by who can see them all, which is the disk. */
  async #sweep(): Promise<void> {
    const wasted: string[] = []
    await this.#walk(wastePrefix, (_key, value) => {
      wasted.push((value as TableRows["waste"]).run)
    })
    for (const run of wasted) {
      let items: CollectItem[] = []
      for (const prefix of rowPrefixesOf(run)) {
        for await (const key of this.#duty.replica.keysOnDisk(prefix)) {
          items.push({ kind: "row", run, key })
          if (items.length < batchItems) continue
          if (!(await this.#collect(items))) return
          items = []
        }
      }
      if (!(await this.#collect([...items, { kind: "emptied", run }]))) return
    }
  }

  async #expireKeys(): Promise<void> {
    const oldest = this.#now() - this.#retention.keysMs
    const items: CollectItem[] = []
    await this.#walk(idempotencyPrefix, (key, value) => {
      const { at } = value as TableRows["key"]
      if (at < oldest) items.push({ kind: "key", key, at })
    })
    await this.#collect(items)
  }

  /** One command after the other; false when leading is over or a command was lost. */
  async #collect(items: readonly CollectItem[]): Promise<boolean> {
    for (let at = 0; at < items.length; at += batchItems) {
      if (this.#duty.signal.aborted) return false
      const batch = items.slice(at, at + batchItems)
      if (!(await proposeAndWait(this.#duty, { type: "collect", items: batch }))) return false
    }
    return !this.#duty.signal.aborted
  }

  /** Every row below a prefix, a page in each turn of the main loop. */
  async #walk(prefix: string, look: (key: string, value: unknown) => void): Promise<void> {
    const { replica, context, signal } = this.#duty
    let after: string | undefined
    for (;;) {
      const page = replica.tables.page(prefix, { after, limit: pageRows })
      for (const [key, value] of page) look(key, value)
      after = page.at(-1)?.[0]
      if (page.length < pageRows || signal.aborted) return
      await context.parts.clock.sleep(1, { signal })
    }
  }
}
