/** Runs tests or the simulation in a directory, bounded in time, and says what noticed. */
import { type ChildProcess, spawn } from "node:child_process"
import { readFile, rm } from "node:fs/promises"
import { join } from "node:path"

/** `noticed`: by which test or invariant. `broken`: they did not run themselves, which says nothing. */
export type Outcome =
  | { readonly kind: "passed" }
  | { readonly kind: "noticed"; readonly by: string; readonly hung: boolean }
  | { readonly kind: "broken"; readonly reason: string }

const limitMs = 180_000
const outputMax = 64 * 1024

/** Vitest, until the first failure. */
export async function runTests(directory: string, files: readonly string[]): Promise<Outcome> {
  const report = join(directory, "report.json")
  await rm(report, { force: true })
  const ended = await run(directory, [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--config",
    "config/vitest.config.ts",
    "--bail",
    "1",
    "--reporter=json",
    `--outputFile=${report}`,
    ...files,
  ])
  if (ended.code === undefined) return hung
  if (ended.code === 0) return { kind: "passed" }
  return readReport(await readFile(report, "utf8").catch(() => ""), ended.output)
}

interface Report {
  readonly testResults: readonly {
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

function readReport(text: string, output: string): Outcome {
  if (text === "") return { kind: "broken", reason: output }
  const { testResults } = JSON.parse(text) as Report
  const failed = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .find(({ status }) => status === "failed")
  // A file that cannot even be loaded is no test that noticed something.
  if (!failed) return { kind: "broken", reason: testResults.map(({ message }) => message).join() }
  const isHung = failed.failureMessages.some((message) => message.includes("Test timed out"))
  return { kind: "noticed", by: failed.fullName, hung: isHung }
}

/** The raft simulation over the seeds 1 to `seeds`, each with a size of its own. */
export async function runSimulation(directory: string, seeds: number): Promise<Outcome> {
  // The failure is enough: nobody reads a smaller one.
  const numbers = ["--seeds", `${seeds}`, "--small", "0"]
  const ended = await run(directory, ["test/sim/main.ts", ...numbers])
  if (ended.code === undefined) return hung
  if (ended.code === 0) return { kind: "passed" }
  const found = /^seed (\d+), step \d+: (.*)$/m.exec(ended.output)
  if (!found) return { kind: "broken", reason: ended.output }
  return { kind: "noticed", by: `seed ${found[1]}: ${found[2]}`, hung: false }
}

const hung: Outcome = { kind: "noticed", by: `no end after ${limitMs / 1000} s`, hung: true }

/** `code` is undefined when time ran out. The output is cut at its end. */
async function run(
  directory: string,
  args: readonly string[],
): Promise<{ code: number | undefined; output: string }> {
  const child = spawn(process.execPath, args, {
    cwd: directory,
    // A group of its own, so that what the tests have started ends with them.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  })
  const stop = (): void => killGroup(child)
  process.once("exit", stop)
  let output = ""
  const take = (chunk: Buffer): void => {
    if (output.length < outputMax) output += chunk.toString()
  }
  child.stdout.on("data", take)
  child.stderr.on("data", take)
  let late = false
  const timer = setTimeout(() => {
    late = true
    killGroup(child)
  }, limitMs)
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject)
      child.once("close", (exitCode) => resolve(exitCode ?? 1))
    })
    return { code: late ? undefined : code, output }
  } finally {
    clearTimeout(timer)
    process.off("exit", stop)
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // It has ended already.
  }
}
