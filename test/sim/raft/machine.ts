/** The replicated state of the simulation: a running hash of everything applied. */
import {
  type ConfChange,
  type ConfState,
  decodeConfChange,
  type Entry,
} from "../../../src/consensus/index.ts"

export interface MachineState {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
  readonly hash: number
}

/** The state machine and its store: what was applied since the last sync may be lost in a crash, from the end. */
export class Machine {
  #synced: MachineState
  #since: MachineState[] = []

  constructor(start: MachineState) {
    this.#synced = start
  }

  get state(): MachineState {
    return this.#since.at(-1) ?? this.#synced
  }

  get synced(): MachineState {
    return this.#synced
  }

  /** `change` reports a configuration entry and returns the configuration after it. */
  apply(entry: Entry, change: (change: ConfChange) => ConfState): MachineState {
    const before = this.state
    if (entry.index !== before.index + 1) {
      throw new Error(`entry ${entry.index} applied after ${before.index}`)
    }
    const confState =
      entry.type === "EntryNormal" ? before.confState : change(decodeConfChange(entry.data))
    const after = {
      index: entry.index,
      term: entry.term,
      confState,
      hash: hashOf(before.hash, entry),
    }
    this.#since.push(after)
    return after
  }

  /** Everything up to now is durable. */
  sync(): void {
    this.#synced = this.state
    this.#since = []
  }

  replace(state: MachineState): void {
    this.#synced = state
    this.#since = []
  }

  /** Of what was not synced, `keep` states survive. */
  crash(keep: (unsynced: number) => number): void {
    this.#since = this.#since.slice(0, keep(this.#since.length))
    this.sync()
  }

  /** The applied index gets ahead of the state that it speaks of (B-23). */
  skew(): void {
    const { index, hash } = this.#synced
    if (this.#since.length > 0) this.#since = [{ ...this.state, hash: hash ^ index }]
  }
}

function hashOf(before: number, entry: Entry): number {
  let hash = Math.imul(before ^ entry.index, 0x01000193)
  hash = Math.imul(hash ^ entry.term, 0x01000193)
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
