/** An attempt as its node sees it. */
import type { KeeperAttempt } from "../wire/index.ts"
import type { Attempt } from "./book.ts"
import { attemptFiles, type KeeperPaths } from "./paths.ts"

export function viewOf(
  attempt: Attempt,
  parts: { readonly paths: KeeperPaths; readonly setpriv: string | undefined },
): KeeperAttempt {
  const { spec, process, startedAt, readyAt, ending, ended } = attempt
  const files = attemptFiles(parts.paths, spec)
  return {
    run: spec.run,
    task: spec.task,
    fence: spec.fence,
    attempt: spec.attempt,
    state: stateOf(attempt),
    ...(process && { pid: process.pid }),
    ...(startedAt !== undefined && { startedAt }),
    ...(readyAt !== undefined && { readyAt }),
    // Decided is not yet durable: told only when it is.
    ...(ended && { ending }),
    stdout: files.stdout,
    stderr: files.stderr,
    ...(spec.directory && { directory: files.directory }),
    outputBytesMax: spec.outputBytesMax,
    ...(spec.onKeeperDeath === "die" && { diesWithKeeper: parts.setpriv !== undefined }),
  }
}

function stateOf({ ended, readyAt, process }: Attempt): KeeperAttempt["state"] {
  if (ended) return "ended"
  if (readyAt !== undefined) return "ready"
  return process ? "started" : "accepted"
}
