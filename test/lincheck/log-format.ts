/** What the readers of logged histories share: lines that begin and end calls, with places in errors. */
import type { Call, HistoryEvent } from "./model.ts"

/** A line that cannot be read. */
export class FormatError extends Error {
  override readonly name = "FormatError"
  readonly line: number

  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

export type Ending<Output> =
  | { readonly type: "completed"; readonly output: Output | undefined }
  /** It certainly had no effect. */
  | { readonly type: "failed" }
  | { readonly type: "unknown" }

/** Pairs the lines of each process; times are line numbers. A call that its log never ends has no outcome. */
export class LoggedCalls<C extends Call, Output> {
  readonly #events: (HistoryEvent<C, Output> | undefined)[] = []
  readonly #open = new Map<string, number>()

  /** A process that calls again has given its last call up. */
  begin(process: string, line: number, call: C): void {
    this.#open.set(process, this.#events.length)
    const client = Number(process)
    this.#events.push({
      ...call,
      client,
      invokedAt: line,
      completedAt: undefined,
      output: undefined,
    })
  }

  /** The call that the process has under way, which must be an `op`. */
  openCall(process: string, line: number, op: string): C {
    const event = this.#events[this.#open.get(process) ?? -1]
    if (event === undefined) throw new FormatError(line, `process ${process} has no call under way`)
    if (event.op !== op) {
      throw new FormatError(line, `process ${process} called ${event.op}, this answers ${op}`)
    }
    return event
  }

  end(process: string, line: number, ending: Ending<Output>): void {
    const index = this.#open.get(process)!
    this.#open.delete(process)
    const event = this.#events[index]!
    if (ending.type === "failed") this.#events[index] = undefined
    if (ending.type === "completed") {
      this.#events[index] = { ...event, completedAt: line, output: ending.output }
    }
  }

  history(): HistoryEvent<C, Output>[] {
    return this.#events.filter((event) => event !== undefined)
  }
}
