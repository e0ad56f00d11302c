/** How long a request may wait: until its client leaves, its limit passes, or the API stops. */
import type { ServerResponse } from "node:http"
import type { Clock } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"

/** The reason with which a signal aborts when nobody is left to answer. */
export class ClientLeft extends Error {
  override readonly name = "ClientLeft"
}

export class Waits {
  readonly #clock: Clock
  // One controller a request, dropped when its response closes: AbortSignal.any over one long-lived signal would grow.
  readonly #live = new Set<AbortController>()
  #stopped: TroupeError<"ERR_STOPPED"> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `limitMs` undefined: a stream, which lasts as long as its client. */
  begin(
    response: ServerResponse,
    limit?: { readonly ms: number; readonly what: string },
  ): {
    readonly signal: AbortSignal
  } {
    const controller = new AbortController()
    if (this.#stopped) controller.abort(this.#stopped)
    this.#live.add(controller)
    const timer =
      limit &&
      this.#clock.after(limit.ms, () =>
        controller.abort(
          new TroupeError("ERR_TIMEOUT", `${limit.what} took longer than ${limit.ms} ms`, {
            what: limit.what,
            afterMs: limit.ms,
          }),
        ),
      )
    const close = () => {
      timer?.cancel()
      this.#live.delete(controller)
      // After a whole answer nobody waits for the signal any more.
      if (!response.writableFinished) {
        controller.abort(new ClientLeft("the client closed the connection"))
      }
    }
    if (response.destroyed) close()
    else response.once("close", close)
    return { signal: controller.signal }
  }

  /** Number of requests that have not been answered whole. */
  get open(): number {
    return this.#live.size
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined
  }

  /** Ends every wait with ERR_STOPPED. */
  stop(): void {
    this.#stopped = new TroupeError("ERR_STOPPED", "this node is stopping", { what: "api" })
    for (const controller of this.#live) controller.abort(this.#stopped)
  }
}
