/** growth: one replica with a million rows: start, lists, applies, snapshots, and how long each kept the main loop. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Bench, Figure, Measured } from "../figure.ts"

export const growth: Figure = {
  name: "growth",
  about:
    "a replica with 1,000,000 rows of finished runs (--n): start, list, apply, snapshot, install",
  run: measure,
}

interface Phase {
  readonly phase: string
  readonly ms: number
  readonly busyP99: number
  readonly busyMax: number
  readonly lateMax: number
  readonly rssMiB: number
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-growth-"))
  bench.onEnd(() => rmSync(directory, { recursive: true, force: true }))
  const script = join(import.meta.dirname, "..", "growth-process.ts")
  const args = ["--expose-gc", script, directory, String(bench.n ?? 1_000_000)]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  bench.onEnd(() => void child.kill())
  const ended = once(child, "close")
  const measured: Measured[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    bench.say(line)
    measured.push(...asMeasured(JSON.parse(line) as Phase))
  }
  const [code] = (await ended) as [number | null]
  if (code !== 0) throw new Error(`the process of the bench ended with ${code}`)
  return measured
}

function asMeasured({ phase, ms, busyP99, busyMax, lateMax, rssMiB }: Phase): readonly Measured[] {
  const figure = (what: string): string => `growth.${phase.replaceAll(" ", "-")}.${what}`
  return [
    { figure: figure("time"), unit: "ms", samples: [ms] },
    { figure: figure("busiest-ms"), unit: "ms", samples: [busyMax] },
    { figure: figure("busy-p99"), unit: "ms", samples: [busyP99] },
    { figure: figure("latest"), unit: "ms", samples: [lateMax] },
    { figure: figure("rss"), unit: "MiB", samples: [rssMiB] },
  ]
}
