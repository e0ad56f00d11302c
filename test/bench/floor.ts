/** The floor as a peer: two bare Node processes that do the same without libraries. */
import { join } from "node:path"
import { TalkingProcess } from "../support/processes.ts"
import type { Bench } from "./figure.ts"
import { openApi } from "./rest-api.ts"

export interface Floor {
  /** Replicated, then started at the worker; answers what it wrote. */
  run(command: readonly string[]): Promise<string>
  /** Replicated only. */
  write(): Promise<void>
  end(): Promise<void>
}

const program = join(import.meta.dirname, "floor-process.ts")
let made = 0

export async function startFloor(bench: Bench, connections = 1): Promise<Floor> {
  const file = join(bench.program.directory, `floor-${++made}`)
  const children: TalkingProcess[] = []
  const end = async (): Promise<void> => {
    for (const child of children) await child.kill()
  }
  bench.onEnd(end)
  const start = async (...args: readonly string[]): Promise<string> => {
    const child = new TalkingProcess(process.execPath, [program, ...args])
    children.push(child)
    return String((await child.hears(({ event }) => event === "listening"))["port"])
  }
  const worker = await start("worker", `${file}-worker`)
  const leader = await start("leader", worker, `${file}-leader`)
  const api = openApi(`http://127.0.0.1:${leader}`, connections)
  const ask = async (json: object): Promise<string> => {
    const { text } = await api.ask("POST", "/", { json })
    return text
  }
  return {
    run: (command) => ask({ command }),
    write: async () => void (await ask({})),
    end: async () => {
      api.close()
      await end()
    },
  }
}
