/** The newest list of members that this node was told, kept on disk: whom it knows before it has tables, or without. */
import type { Member } from "../schema/index.ts"
import type { LocalStore } from "./parts.ts"

interface StoredRoster {
  /** Of the log. */
  readonly index: number
  readonly members: readonly Member[]
}

export class Roster {
  readonly #local: LocalStore
  #members: readonly Member[] = []
  #index = -1

  constructor(local: LocalStore) {
    this.#local = local
  }

  get members(): readonly Member[] {
    return this.#members
  }

  /** -1: none was heard. */
  get index(): number {
    return this.#index
  }

  async load(): Promise<void> {
    const stored = (await this.#local.get("roster")) as StoredRoster | undefined
    this.#members = stored?.members ?? []
    this.#index = stored?.index ?? -1
  }

  /** As of an index of the log, from a leader; what is older than the one here is not taken. */
  async learn(members: readonly Member[], index: number): Promise<void> {
    if (index > this.#index) await this.keep(members, index)
  }

  async keep(members: readonly Member[], index: number): Promise<void> {
    this.#members = members
    this.#index = index
    await this.#local.put("roster", { index, members })
  }

  /** Of a cluster that was left; the file is overwritten by the next one's. */
  forget(): void {
    this.#members = []
    this.#index = -1
  }
}
