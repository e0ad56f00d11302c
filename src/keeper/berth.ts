/** The empty cgroup that a spawner waits in: its next child is born there, and need not wait for a move of some 10 ms. */
import type { Cgroups } from "./cgroups.ts"

export class Berth {
  readonly #cgroups: Cgroups
  #name: string | undefined
  #moving: Promise<void> | undefined
  #problem: string | undefined

  constructor(cgroups: Cgroups) {
    this.#cgroups = cgroups
    this.#move()
  }

  /** Undefined while this process still stands where its last child was born. */
  get name(): string | undefined {
    return this.#name
  }

  /** Why there was none at the last try. */
  get problem(): string {
    return `the host refuses another cgroup: ${this.#problem ?? "no reason given"}`
  }

  /** Resolves when there is one or none can be had. */
  async renewed(): Promise<void> {
    if (this.#name === undefined && !this.#moving) this.#move()
    await this.#moving
  }

  /** A child has been born: the cgroup is its own. */
  taken(): void {
    this.#name = undefined
    this.#move()
  }

  #move(): void {
    this.#moving = this.#cgroups.enter().then(
      (name) => {
        this.#name = name
        this.#moving = undefined
      },
      (error: Error) => {
        this.#problem = error.message
        this.#moving = undefined
      },
    )
  }
}
