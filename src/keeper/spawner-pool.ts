/** Spawns here while that is quick enough, and in child processes when orders pile up. */
import type { KeeperClock } from "./clock.ts"
import type { Exit, LocalSpawner, Spawner, SpawnOrder, SpawnResult } from "./spawner.ts"
import type { RemoteSpawner } from "./spawner-process.ts"

export interface PoolParts {
  readonly clock: KeeperClock
  readonly local: LocalSpawner
  /** Starts a further one; `gone` is called when it is no more. */
  readonly start: (gone: () => void) => RemoteSpawner
  /** Besides the local one. */
  readonly remotesMax: number
}

/** So many orders in the queue pay for a process of 50 MB and the 60 ms until it is up. */
const startBacklog = 12
/** From here on a further hop is quicker than the queue. */
const shareBacklog = 2
const idleMs = 10_000

export class SpawnerPool implements Spawner {
  readonly #parts: PoolParts
  readonly #remotes = new Set<RemoteSpawner>()
  #checking = false

  constructor(parts: PoolParts) {
    this.#parts = parts
  }

  spawn(order: SpawnOrder, exited: (exit: Exit | undefined) => void): Promise<SpawnResult> {
    const { local, remotesMax } = this.#parts
    if (local.backlog >= startBacklog && this.#remotes.size < remotesMax) this.#startOne()
    if (local.backlog < shareBacklog) return local.spawn(order, exited)
    const all: (LocalSpawner | RemoteSpawner)[] = [local, ...this.#remotes]
    const least = all.reduce((best, one) => (one.backlog < best.backlog ? one : best))
    return least.spawn(order, exited)
  }

  #startOne(): void {
    const remote = this.#parts.start(() => this.#remotes.delete(remote))
    this.#remotes.add(remote)
    if (!this.#checking) this.#checkLater()
  }

  #checkLater(): void {
    this.#checking = true
    this.#parts.clock.after(idleMs, () => {
      this.#checking = false
      for (const remote of this.#remotes) {
        if (!remote.isIdle) continue
        this.#remotes.delete(remote)
        remote.close()
      }
      if (this.#remotes.size > 0) this.#checkLater()
    })
  }
}
