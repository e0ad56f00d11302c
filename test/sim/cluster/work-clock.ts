/** The clock by which a host's processes work: while the host sleeps none gets on, and each goes on where it stood. */
import type { Clock, Timer } from "../../../src/platform/index.ts"

interface Work {
  /** Boot-time clock; undefined while the host sleeps. */
  dueAt: number | undefined
  leftMs: number
  readonly run: () => void
  timer: Timer | undefined
}

export class WorkClock implements Pick<Clock, "after"> {
  readonly #machine: Clock
  readonly #works = new Set<Work>()
  #isStopped = false

  constructor(machine: Clock) {
    this.#machine = machine
  }

  after(ms: number, run: () => void): Timer {
    const work: Work = { dueAt: undefined, leftMs: ms, run, timer: undefined }
    this.#works.add(work)
    if (!this.#isStopped) this.#plan(work)
    return {
      cancel: () => {
        work.timer?.cancel()
        this.#works.delete(work)
      },
    }
  }

  stop(): void {
    this.#isStopped = true
    const now = this.#machine.boottime()
    for (const work of this.#works) {
      work.timer?.cancel()
      work.leftMs = Math.max(0, work.dueAt! - now)
    }
  }

  resume(): void {
    this.#isStopped = false
    for (const work of this.#works) this.#plan(work)
  }

  #plan(work: Work): void {
    work.dueAt = this.#machine.boottime() + work.leftMs
    work.timer = this.#machine.after(work.leftMs, () => {
      this.#works.delete(work)
      work.run()
    })
  }
}
