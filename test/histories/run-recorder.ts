/** Collects what clients of one process are told of runs; its clock counts events. */
import type { Run, RunList, RunView } from "../../src/schema/index.ts"
import { HistoryRecorder, type RecordedCall } from "../lincheck/index.ts"
import {
  type AttemptSight,
  attemptsOf,
  type Page,
  type RunCall,
  type RunOutput,
  sightOf,
} from "./calls.ts"
import { checkRuns, type RunsCheck } from "./check-runs.ts"

export class RunRecorder {
  readonly #calls = new HistoryRecorder<RunCall, RunOutput>()
  readonly #pages: Page[] = []
  readonly #attempts: AttemptSight[] = []

  invoke(client: string, call: RunCall): RecordedCall<RunOutput> {
    return this.#calls.invoke(client, call)
  }

  /** For what an answer shows besides: complete it with `seen`. */
  look(client: string, key: string): RecordedCall<RunOutput> {
    return this.#calls.invoke(client, { op: "look", input: { key } })
  }

  list(client: string): { readonly complete: (list: RunList) => void } {
    const invokedAt = this.#calls.moment()
    return {
      complete: ({ items, nextCursor }) => {
        this.#pages.push({
          client,
          invokedAt,
          completedAt: this.#calls.moment(),
          items: items.map((run: Run) => ({ ...sightOf(run), key: run.key ?? "" })),
          isWhole: nextCursor === undefined,
        })
      },
    }
  }

  attempts(view: RunView): void {
    this.#attempts.push(...attemptsOf(view))
  }

  check(): RunsCheck {
    const [history, pages, attempts] = [this.#calls.history(), this.#pages, this.#attempts]
    return checkRuns({ history, pages, attempts })
  }
}
