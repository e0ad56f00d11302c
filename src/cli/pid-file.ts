/** `<data>/node.pid`: which process is the node of a data directory, and proof that a pid is still that process. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as z from "zod"
import { runTool } from "../platform/index.ts"
import { UsageError } from "./failure.ts"

const Owner = z.strictObject({
  pid: z.int().positive(),
  /** What the system says of when the pid began; with the pid it names one process of one boot. */
  started: z.string(),
})
export type Owner = z.infer<typeof Owner>

const psTimeoutMs = 5000

function pidFile(data: string): string {
  return join(data, "node.pid")
}

/** Writes this process as the node of the directory. Refuses when another live one is. */
export async function claim(data: string): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const running = await findOwner(data)
  if (running !== undefined) {
    throw new UsageError(
      `a node is already running in ${data} (process ${running.pid})`,
      "stop it with: troupe node stop, or give this one another --data",
    )
  }
  const owner: Owner = { pid: process.pid, started: (await startOf(process.pid)) ?? "" }
  writeFileSync(pidFile(data), `${JSON.stringify(owner)}\n`, { mode: 0o600 })
}

/** Removes the claim of this process; another's stays. */
export function release(data: string): void {
  if (read(data)?.pid === process.pid) rmSync(pidFile(data), { force: true })
}

/** The live node of the directory. A pid that the system gave to another process since is nobody. */
export async function findOwner(data: string): Promise<Owner | undefined> {
  const owner = read(data)
  if (owner === undefined || owner.pid === process.pid) return undefined
  return (await isAlive(owner)) ? owner : undefined
}

/** The very process that wrote the claim still runs. */
export async function isAlive(owner: Owner): Promise<boolean> {
  const started = await startOf(owner.pid)
  return started !== undefined && started === owner.started
}

/** Undefined when there is none, or none that we wrote. */
function read(data: string): Owner | undefined {
  let text: string
  try {
    text = readFileSync(pidFile(data), "utf8")
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw error
  }
  try {
    return Owner.parse(JSON.parse(text))
  } catch {
    // Torn by a crash while it was written: whoever wrote it never ran on.
    return undefined
  }
}

/** Boot and start time of a process; undefined when it is gone or a zombie. */
async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    let stat: string
    try {
      stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    } catch {
      // No such process (or one that hides itself from us, which then is not ours to stop).
      return undefined
    }
    // The name in parentheses may hold anything; what counts follows the last one. Field 3 is the state, 22 the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (fields[0] === "Z" || fields[0] === "X") return undefined
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()
    return `${boot}/${fields[19] ?? ""}`
  }
  const { exitCode, stdout } = await runTool("ps", ["-o", "lstart=", "-p", String(pid)], {
    timeoutMs: psTimeoutMs,
  })
  const text = stdout.trim()
  return exitCode === 0 && text !== "" ? text : undefined
}
