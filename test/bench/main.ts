/** The bench: `npm run bench -- [NAME…] [--list] [--n N] [--seconds S] [--profile DIR]`. A JSON line a figure, a table for people. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { loadavg, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { numberFrom, runAsProcess, UsageError, wholeNumber } from "../support/command-line.ts"
import { onLoopback } from "./bench-hosts.ts"
import { calibrate } from "./calibration.ts"
import type { Bench, Figure } from "./figure.ts"
import { cli } from "./figures/cli.ts"
import { consensus, consensusMemory } from "./figures/consensus.ts"
import { consensusFailover, consensusSilent } from "./figures/consensus-failover.ts"
import { dispatch } from "./figures/dispatch.ts"
import { failover, failoverSilent, handover } from "./figures/failover.ts"
import { growth } from "./figures/growth.ts"
import { idleElections } from "./figures/idle-elections.ts"
import { jobs } from "./figures/jobs.ts"
import { rss } from "./figures/memory.ts"
import { scheduler } from "./figures/scheduler.ts"
import { startup } from "./figures/startup.ts"
import { writes } from "./figures/write.ts"
import { buildProgram } from "./program.ts"
import { type Row, summarise } from "./summary.ts"
import { calibrationLine, table } from "./table.ts"

const figures: readonly Figure[] = [
  dispatch,
  jobs,
  failover,
  failoverSilent,
  handover,
  idleElections,
  rss,
  startup,
  cli,
  writes,
  consensus,
  consensusFailover,
  consensusSilent,
  consensusMemory,
  growth,
  scheduler,
]
const inside = "TROUPE_BENCH_INSIDE"

const usage = `npm run bench -- [NAME…] [--list] [--n N] [--seconds S] [--profile DIR]
  each figure (all, unless named), a JSON line each; --list tells their names
  exit 0: measured; 1: not; 2: wrong arguments`

interface Asked {
  readonly figures: readonly Figure[]
  readonly n: number | undefined
  readonly seconds: number
  readonly profile: string | undefined
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function chosen(names: readonly string[]): readonly Figure[] {
  if (names.length === 0) return figures
  return names.map((name) => {
    const found = figures.find((figure) => figure.name === name)
    if (!found) throw new UsageError(`there is no figure '${name}'; --list shows them`)
    return found
  })
}

/** The same command in a network of its own, where each node has a host. */
async function runInside(): Promise<number> {
  const netns = resolve(import.meta.dirname, "../../scripts/netns")
  const line = [netns, process.execPath, import.meta.filename, ...process.argv.slice(2)]
  const child = spawn(line[0]!, line.slice(1), {
    stdio: "inherit",
    env: { ...process.env, [inside]: "1" },
  })
  // The one inside cleans up and ends; a terminal's Ctrl-C reaches it by itself.
  process.on("SIGINT", () => undefined)
  process.on("SIGTERM", () => child.kill("SIGTERM"))
  const [code] = (await once(child, "exit")) as [number | null]
  return code ?? 1
}

async function measure(asked: Asked): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-bench-"))
  const profiles = asked.profile === undefined ? undefined : resolve(asked.profile)
  if (profiles !== undefined) mkdirSync(profiles, { recursive: true })
  const ends: (() => Promise<void> | void)[] = []
  const cleanUp = async (): Promise<void> => {
    for (const end of ends.splice(0).toReversed()) await end()
  }
  const interrupted = (): void => {
    void cleanUp().finally(() => {
      rmSync(directory, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once("SIGINT", interrupted)
  process.once("SIGTERM", interrupted)
  const rows: Row[] = []
  try {
    const bench: Bench = {
      program: buildProgram(directory, profiles),
      n: asked.n,
      seconds: asked.seconds,
      say,
      onEnd: (end) => void ends.push(end),
    }
    if (onLoopback) say("the nodes share one loopback: no host can be made here")
    for (const figure of asked.figures) {
      say(`${figure.name}: ${figure.about}`)
      rows.push(...(await one(bench, figure)))
      await cleanUp()
    }
  } finally {
    await cleanUp()
    rmSync(directory, { recursive: true, force: true })
  }
  if (process.stderr.isTTY) say(`\n${table(rows)}`)
}

async function one(bench: Bench, figure: Figure): Promise<readonly Row[]> {
  const calibration = await calibrate(bench.program.directory, loadavg()[0] ?? 0)
  const rows: Row[] = []
  for (const measured of await figure.run(bench)) {
    const row = summarise(measured, calibration)
    if (!row) continue
    process.stdout.write(`${JSON.stringify(row)}\n`)
    rows.push(row)
  }
  if (rows[0] && process.stderr.isTTY) say(calibrationLine(rows[0]))
  return rows
}

await runAsProcess(usage, async (args) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      list: { type: "boolean", default: false },
      n: { type: "string" },
      seconds: { type: "string", default: "45" },
      profile: { type: "string" },
    },
  })
  const asked: Asked = {
    figures: chosen(positionals),
    n: values.n === undefined ? undefined : wholeNumber("n", values.n, { min: 1 }),
    seconds: numberFrom("seconds", values.seconds, { min: 0.001 }),
    profile: values.profile,
  }
  if (values.list) {
    for (const { name, about } of figures) process.stdout.write(`${name.padEnd(16)} ${about}\n`)
    return 0
  }
  if (process.platform === "linux" && process.env[inside] === undefined) return await runInside()
  await measure(asked)
  return 0
})
