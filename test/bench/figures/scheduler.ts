/** scheduler: decisions a second, the longest decision and memory, by nodes and tasks, and how they grow. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import type { Bench, Figure, Measured } from "../figure.ts"

const nodeCounts = [10, 100, 1000]
const taskCounts = [1000, 10_000, 100_000]

export const scheduler: Figure = {
  name: "scheduler",
  about: "the scheduler alone, 10 to 1,000 nodes and 1,000 to 100,000 tasks: decisions/s, growth",
  run: measure,
}

interface Size {
  readonly nodes: number
  readonly tasks: number
  readonly decisions: number
  readonly schedulerMs: number
  readonly perSecond: number
  readonly p99Ms: number
  readonly longestMs: number
  readonly heapMiB: number
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const sizes: Size[] = []
  bench.say("   nodes    tasks  decisions/s   p99 ms  longest ms  heap MiB")
  for (const nodes of nodeCounts) {
    for (const tasks of taskCounts) {
      const size = await one(bench, nodes, tasks)
      const { perSecond, p99Ms, longestMs, heapMiB } = size
      const columns = [nodes, tasks, Math.round(perSecond), p99Ms, longestMs, Math.round(heapMiB)]
      const widths = [8, 9, 13, 9, 12, 10]
      bench.say(columns.map((value, at) => shown(value).padStart(widths[at]!)).join(""))
      sizes.push(size)
    }
  }
  return [...sizes.flatMap(asMeasured), ...growth(sizes)]
}

function shown(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2)
}

async function one(bench: Bench, nodes: number, tasks: number): Promise<Size> {
  const script = join(import.meta.dirname, "..", "scheduler-process.ts")
  const args = ["--expose-gc", script, String(nodes), String(tasks)]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  bench.onEnd(() => void child.kill())
  const ended = once(child, "close")
  const line = await text(child.stdout)
  const [code] = (await ended) as [number | null]
  if (code !== 0) throw new Error(`the process of the bench ended with ${code}`)
  return JSON.parse(line) as Size
}

function asMeasured(size: Size): readonly Measured[] {
  const figure = (what: string): string =>
    `scheduler.${size.nodes}-nodes.${size.tasks}-tasks.${what}`
  return [
    { figure: figure("decisions"), unit: "1/s", samples: [size.perSecond] },
    { figure: figure("longest"), unit: "ms", samples: [size.longestMs] },
    { figure: figure("heap"), unit: "MiB", samples: [size.heapMiB] },
  ]
}

/** The power with which time grows from the middle size to the largest; n log n is 1.1 there. */
function growth(sizes: readonly Size[]): readonly Measured[] {
  const ms = (nodes: number, tasks: number): number =>
    sizes.find((size) => size.nodes === nodes && size.tasks === tasks)?.schedulerMs ?? Number.NaN
  const byTasks = nodeCounts.map((nodes) => Math.log10(ms(nodes, 100_000) / ms(nodes, 10_000)))
  const byNodes = Math.log10(ms(1000, 100_000) / ms(100, 100_000))
  return [
    { figure: "scheduler.growth.tasks", unit: "exponent", samples: byTasks },
    { figure: "scheduler.growth.nodes", unit: "exponent", samples: [byNodes] },
  ]
}
