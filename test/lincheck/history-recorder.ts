/** Collects a history while clients call; its clock counts events, so that no two of them touch. */
import type { Call, HistoryEvent } from "./model.ts"

/** A call under way. Without an ending its outcome is unknown. */
export interface RecordedCall<Output> {
  complete(output: Output | undefined): void
  /** Only for what certainly had no effect: refused before it was tried. */
  discard(): void
}

interface Recorded<C extends Call, Output> {
  readonly client: string | number
  readonly call: C
  readonly invokedAt: number
  ending:
    | { readonly completedAt: number; readonly output: Output | undefined }
    | "discarded"
    | undefined
}

export class HistoryRecorder<C extends Call, Output> {
  readonly #calls: Recorded<C, Output>[] = []
  #time = 0

  /** Call it just before the request leaves, and `complete` when the answer is there. */
  invoke(client: string | number, call: C): RecordedCall<Output> {
    const recorded: Recorded<C, Output> = {
      client,
      call,
      invokedAt: this.#time++,
      ending: undefined,
    }
    this.#calls.push(recorded)
    const end = (ending: Recorded<C, Output>["ending"]): void => {
      if (recorded.ending) throw new Error(`call ${recorded.invokedAt} ended twice`)
      recorded.ending = ending
    }
    return {
      complete: (output) => end({ completedAt: this.#time++, output }),
      discard: () => end("discarded"),
    }
  }

  /** A moment of its clock, for what is recorded elsewhere. */
  moment(): number {
    return this.#time++
  }

  history(): HistoryEvent<C, Output>[] {
    return this.#calls.flatMap(({ client, call, invokedAt, ending }) => {
      if (ending === "discarded") return []
      const { completedAt, output } = ending ?? { completedAt: undefined, output: undefined }
      return [{ ...call, client, invokedAt, completedAt, output }]
    })
  }
}
