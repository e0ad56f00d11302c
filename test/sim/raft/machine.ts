/** The replicated state of the simulation: registers that clients write, and a running hash of everything applied. */
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
  readonly registers: ReadonlyMap<string, number>
}

/** `w KEY VALUE`, `c KEY FROM TO` (FROM `nil`: not written yet); anything else only counts. */
export interface Command {
  readonly op: "write" | "cas"
  readonly key: string
  readonly from: number | null
  readonly to: number
}

export function commandText({ op, key, from, to }: Command): string {
  return op === "write" ? `w ${key} ${to}` : `c ${key} ${from ?? "nil"} ${to}`
}

function commandOf(text: string): Command | undefined {
  const [letter, key, first, second] = text.split(" ")
  if (key === undefined || first === undefined) return undefined
  if (letter === "w") return { op: "write", key, from: null, to: Number(first) }
  if (letter !== "c" || second === undefined) return undefined
  return { op: "cas", key, from: first === "nil" ? null : Number(first), to: Number(second) }
}

export interface Applied {
  readonly state: MachineState
  /** Of a cas: did it find what it compared with? */
  readonly isDone: boolean
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

  /** `change` reports a configuration entry and returns the configuration after it. */
  apply(entry: Entry, change: (change: ConfChange) => ConfState): Applied {
    const before = this.state
    if (entry.index !== before.index + 1) {
      throw new Error(`entry ${entry.index} applied after ${before.index}`)
    }
    const isChange = entry.type !== "EntryNormal"
    const confState = isChange ? change(decodeConfChange(entry.data)) : before.confState
    const command = isChange ? undefined : commandOf(new TextDecoder().decode(entry.data))
    const isDone = command !== undefined && isPossible(command, before)
    const state: MachineState = {
      index: entry.index,
      term: entry.term,
      confState,
      hash: hashOf(before.hash, entry),
      registers: isDone ? new Map(before.registers).set(command.key, command.to) : before.registers,
    }
    this.#since.push(state)
    return { state, isDone }
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

function isPossible({ op, key, from }: Command, { registers }: MachineState): boolean {
  return op === "write" || (registers.get(key) ?? null) === from
}

function hashOf(before: number, entry: Entry): number {
  let hash = Math.imul(before ^ entry.index, 0x01000193)
  hash = Math.imul(hash ^ entry.term, 0x01000193)
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
