/** Ctrl-C: the first is a wish, the second an order. */
import { createInterface } from "node:readline"
import { exitCodes } from "./exit.ts"
import type { Session } from "./session.ts"

/** Calls `first` at the first SIGINT or SIGTERM; the second ends the process. Returns how to let go of the signals. */
export function onInterrupt(first: (signal: "SIGINT" | "SIGTERM") => void): () => void {
  let interrupted = false
  const heard = (signal: "SIGINT" | "SIGTERM") => {
    if (interrupted) {
      process.stderr.write("\n")
      process.exit(exitCodes.cancelled)
    }
    interrupted = true
    first(signal)
  }
  process.on("SIGINT", heard)
  process.on("SIGTERM", heard)
  return () => {
    process.off("SIGINT", heard)
    process.off("SIGTERM", heard)
  }
}

/** Asks the person at the terminal. An end of input or an answer that is neither means: cancel, as elsewhere. */
export async function askDetachOrCancel(session: Session): Promise<"detach" | "cancel"> {
  session.terminal.draw("\nDetach (the run goes on) or cancel it? [d/C] ")
  // Not a terminal interface: in raw mode a second Ctrl-C would be a letter instead of a signal.
  const lines = createInterface({ input: process.stdin, terminal: false })
  const answer = await new Promise<string>((resolve) => {
    lines.once("line", resolve)
    lines.once("close", () => resolve(""))
  })
  lines.close()
  process.stdin.unref()
  return /^d/i.test(answer.trim()) ? "detach" : "cancel"
}
