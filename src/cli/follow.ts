/** Following a run to its end: events as they come, and the view whenever it changed. */
import type { Client } from "../client/index.ts"
import type { Clock } from "../platform/index.ts"
import type { RunEvent, RunView } from "../schema/index.ts"

/** Views are asked for at most this often: a run of thousands of tasks has many events a second. */
const viewEveryMs = 150
/** Where the cluster leaves tasks out of it, since there are many. */
const largeViewEveryMs = 1000

/** Resolves with the finished run. Rejects with the signal's reason, or when no node answers any more. */
export async function follow(
  client: Client,
  first: RunView,
  options: {
    clock: Clock
    signal: AbortSignal
    onEvent?: (event: RunEvent) => void
    onView?: (view: RunView) => void
  },
): Promise<RunView> {
  const { clock, signal, onEvent, onView } = options
  onView?.(first)
  let asking: Promise<void> | undefined
  let stale = false
  let isOver = false
  const refresh = async () => {
    while (stale) {
      stale = false
      const view = await client.getRun(first.id, { signal })
      // An answer that was under way when the run ended would show the past.
      if (!isOver) onView?.(view)
      if (isOver) return
      await clock.sleep(view.omitted === undefined ? viewEveryMs : largeViewEveryMs, { signal })
    }
    asking = undefined
  }
  for await (const message of client.events(first.id, { signal })) {
    if (message.type === "reset") {
      onView?.(message.run)
      continue
    }
    onEvent?.(message)
    stale = true
    // A failure to ask is a failure of the stream too, which is tried again and tells.
    if (onView) asking ??= refresh().catch(() => void (asking = undefined))
  }
  isOver = true
  // The stream has ended because the run has; the view may still be a moment behind.
  for (;;) {
    const view = await client.getRun(first.id, { signal })
    onView?.(view)
    if (view.state === "finished") return view
    await clock.sleep(viewEveryMs, { signal })
  }
}
