/** Output of attempts as they run, several at once: begun when an attempt is assigned, complete when it has ended. */
import type { Client } from "../client/index.ts"
import { isTroupeError } from "../schema/index.ts"

/** Attempts that are read at once, two streams each: a browser's worth of connections to one node. */
const atOnceMax = 16

export interface Sink {
  write(piece: Uint8Array): void
  end(): void
}

export interface Tails {
  /** What is over the limit waits for its turn; nothing of it is lost meanwhile. */
  begin(task: string, attempt: number): void
  /** Resolves when everything that was begun is written. Rejects with the signal's reason. */
  done(): Promise<void>
}

export function createTails(
  client: Client,
  run: string,
  options: {
    readonly sinkOf: (task: string, stream: "stdout" | "stderr") => Sink
    /** The output of one attempt could not be read to its end. */
    readonly onGap: (task: string, attempt: number, reason: string) => void
    readonly signal: AbortSignal
  },
): Tails {
  const { signal } = options
  const waiting: { readonly task: string; readonly attempt: number }[] = []
  const running = new Set<Promise<void>>()

  const pour = async (task: string, attempt: number, stream: "stdout" | "stderr") => {
    const sink = options.sinkOf(task, stream)
    try {
      const query = { task, stream, attempt, follow: true, signal }
      for await (const piece of client.logs(run, query)) sink.write(piece)
    } catch (error) {
      // An attempt that never wrote, or whose node is gone, is no reason to stop listening to the others.
      if (signal.aborted || !isTroupeError(error)) throw error
      options.onGap(task, attempt, error.message)
    } finally {
      sink.end()
    }
  }
  const next = () => {
    while (running.size < atOnceMax) {
      const turn = waiting.shift()
      if (turn === undefined) return
      const { task, attempt } = turn
      const both = Promise.all([pour(task, attempt, "stdout"), pour(task, attempt, "stderr")])
      const work = both.then(() => void running.delete(work)).then(next)
      // Told by done().
      work.catch(() => undefined)
      running.add(work)
    }
  }
  return {
    begin(task, attempt) {
      waiting.push({ task, attempt })
      next()
    },
    async done() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
