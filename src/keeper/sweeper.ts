/** Where no cgroup holds a job together: finds what ended jobs left behind in sessions of their own, by their nonces. */
import type { KeeperClock } from "./clock.ts"
import { listProcesses, readNonce } from "./process-table.ts"
import { signalAll } from "./tree.ts"

const sweepMs = 1000
/** TERM at the first look, KILL from then on; after these many nobody is left who would listen. */
const looks = 4
const noncesMax = 20_000

/** One look through /proc a second, and only while jobs have lately ended: their number does not matter. */
export class Sweeper {
  readonly #clock: KeeperClock
  /** Nonce → looks still to come. */
  readonly #ended = new Map<string, number>()
  #sweeping = false

  constructor(clock: KeeperClock) {
    this.#clock = clock
  }

  ended(nonce: string): void {
    if (this.#ended.size < noncesMax) this.#ended.set(nonce, looks)
    if (!this.#sweeping) this.#later()
  }

  #later(): void {
    this.#sweeping = true
    this.#clock.after(sweepMs, () => {
      this.#sweep()
      this.#sweeping = false
      if (this.#ended.size > 0) this.#later()
    })
  }

  #sweep(): void {
    const left = listProcesses().flatMap((process) => {
      const nonce = readNonce(process.pid) ?? ""
      const rest = this.#ended.get(nonce)
      return rest === undefined ? [] : [{ process, nonce, rest }]
    })
    for (const { process, rest } of left) {
      signalAll([process], rest === looks ? "SIGTERM" : "SIGKILL")
    }
    const found = new Set(left.map(({ nonce }) => nonce))
    for (const [nonce, rest] of this.#ended) {
      if (!found.has(nonce) || rest === 1) this.#ended.delete(nonce)
      else this.#ended.set(nonce, rest - 1)
    }
  }
}
