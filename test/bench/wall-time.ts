/** How long a command takes, as its user sees it. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { bareEnvironment } from "./mesh.ts"

/** Throws when it does not end well. */
export async function wallTime(command: readonly string[]): Promise<number> {
  const begun = performance.now()
  const child = spawn(command[0]!, command.slice(1), { stdio: "ignore", env: bareEnvironment() })
  const [code] = (await once(child, "exit")) as [number | null]
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}`)
  return performance.now() - begun
}
