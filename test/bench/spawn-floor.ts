/** What the machine gives a Node orchestrator at most, and what a user types without one: spawners, and xargs. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { TalkingProcess } from "../support/processes.ts"
import type { Bench } from "./figure.ts"

const program = join(import.meta.dirname, "spawn-floor-process.ts")

/** `/bin/true` a second, by so many bare Node processes together. */
export async function spawnFloor(
  bench: Bench,
  load: { readonly count: number; readonly spawners: number; readonly atOnce: number },
): Promise<number> {
  const { count, spawners, atOnce } = load
  const each = Math.ceil(count / spawners)
  const children = Array.from(
    { length: spawners },
    () => new TalkingProcess(process.execPath, [program, String(each), String(atOnce)]),
  )
  bench.onEnd(async () => {
    for (const child of children) await child.kill()
  })
  await Promise.all(children.map((child) => child.hears(({ event }) => event === "listening")))
  const begun = performance.now()
  for (const child of children) child.say("go")
  await Promise.all(children.map((child) => child.hears(({ event }) => event === "done")))
  const seconds = (performance.now() - begun) / 1000
  for (const child of children) await child.kill()
  return (each * spawners) / seconds
}

/** The same with `xargs -P8 -n1`: no queue, no record of anything. */
export async function xargsRate(bench: Bench, count: number): Promise<number> {
  const begun = performance.now()
  const child = spawn("xargs", ["-P8", "-n1", "/bin/true"], { stdio: ["pipe", "ignore", "ignore"] })
  bench.onEnd(() => void child.kill())
  child.stdin!.end(Array.from({ length: count }, (_, place) => `${place}\n`).join(""))
  const [code] = (await once(child, "exit")) as [number | null]
  if (code !== 0) throw new Error(`xargs exited with ${code}`)
  return (count * 1000) / (performance.now() - begun)
}
