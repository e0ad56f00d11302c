/** Turns of the core: whatever comes in one turn of the main loop goes into the same writes and frames. */
import type { Clock } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"
import { UnknownVersionError } from "../wire/index.ts"

export interface PumpInput {
  readonly clock: Clock
  isOver(): boolean
  fatal(exitCode: 70 | 76, error: Error): void
  /** Takes out of the core what it has; true: there is more, for another turn. */
  work(): boolean
}

export class Pump {
  readonly #input: PumpInput
  #isPumping = false
  #isScheduled = false

  constructor(input: PumpInput) {
    this.#input = input
  }

  /** Something for the core, and then what follows from it. */
  input(run: () => void): void {
    if (this.#input.isOver()) return
    this.#guard(run)
    this.schedule()
  }

  /** A broken invariant stops the node rather than going on with it. */
  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (error instanceof TroupeError) throw error
      this.#input.fatal(error instanceof UnknownVersionError ? 76 : 70, error as Error)
    }
  }

  schedule(): void {
    if (this.#isScheduled || this.#isPumping) return
    this.#isScheduled = true
    this.#input.clock.soon(() => {
      this.#isScheduled = false
      this.#guard(() => this.#pump())
    })
  }

  #pump(): void {
    this.#isPumping = true
    let isMore = false
    try {
      isMore = this.#input.work()
    } finally {
      this.#isPumping = false
    }
    if (isMore) this.schedule()
  }
}
