/** Starts the children of these tests and gathers what they say. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { resolve } from "node:path"

export interface Child {
  readonly process: ChildProcess
  /** Resolves when the output so far fulfils the condition. */
  until(condition: (output: string) => boolean): Promise<void>
  /** kill -9; resolves with all of its output. */
  kill(): Promise<string>
}

/** `file`: beside this one, or absolute. */
export function startChild(file: string, ...args: string[]): Child {
  const child = spawn(process.execPath, [resolve(import.meta.dirname, file), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  let output = ""
  const closed = once(child, "close")
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text
  })
  return {
    process: child,
    async until(condition) {
      while (!condition(output)) {
        const more = once(child.stdout, "data")
        const [first] = await Promise.race([more, closed.then(() => ["ended"])])
        if (first === "ended" && !condition(output)) throw new Error(`ended after: ${output}`)
      }
    },
    async kill() {
      child.kill("SIGKILL")
      await closed
      return output
    },
  }
}
