/** The command line on a test host, as somebody types it there. */
import { spawn } from "node:child_process"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Node } from "./cluster.ts"

const main = join(import.meta.dirname, "../../src/cli/main.ts")

export interface Typed {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `troupe …` on a node's host; it talks to that node unless `--api` says otherwise. */
export async function typed(node: Node, ...args: readonly string[]): Promise<Typed> {
  const [command, ...rest] = [...node.host.enter, process.execPath, main, ...args]
  const child = spawn(command!, rest, {
    env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir(), TROUPE_API: node.api },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve))
  return { code, stdout, stderr }
}
