/** What the rough jobs are: a script that says in a file all nodes share when it starts and ends, and how it is submitted. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { RunView, SubmitJobInput } from "../../src/schema/index.ts"
import type { SeededRandom } from "../support/random.ts"
import type { Machine } from "./machine.ts"

/** Of every ten members one exits with this. */
export const badExit = 3

export function isBad(index: number): boolean {
  return index % 10 === 7
}

/** By its arguments: where it says so, and how long it takes, about, in ms. */
const script = `say() {
  printf '%s %s %s %s %s\\n' "$1" "$TROUPE_RUN_ID" "$TROUPE_ROLE" "$TROUPE_ATTEMPT" "$TROUPE_FENCE" >> "$JOBS_FILE"
}
index=\${TROUPE_ROLE#*[}
index=\${index%]}
ms=$(($1 / 2 + index * 137 % $1))
say start
sleep $((ms / 1000)).$(printf %03d $((ms % 1000)))
say end
[ $((index % 10)) -eq 7 ] && exit ${badExit}
exit 0
`

export interface RoughJob {
  readonly key: string
  readonly request: SubmitJobInput
}

const membersMax = 50

/** So many members, in runs of every policy. */
export function roughJobs(
  directory: string,
  options: { readonly count: number; readonly ms: number; readonly random: SeededRandom },
): readonly RoughJob[] {
  const file = join(directory, "job.sh")
  writeFileSync(file, script)
  const jobs: RoughJob[] = []
  for (let left = options.count; left > 0;) {
    const count = Math.min(left, membersMax)
    left -= count
    const retries = options.random.pick([0, 0, 1])
    const request: SubmitJobInput = {
      name: `rough-${jobs.length}`,
      command: ["sh", file, String(options.ms)],
      env: { JOBS_FILE: jobsFile(directory) },
      count,
      retries,
      backoffMs: 100,
      timeoutMs: 600_000,
      onLoss: options.random.pick(["wait", "wait", "requeue", "fail"] as const),
    }
    jobs.push({ key: `rough-${jobs.length}`, request })
  }
  return jobs
}

export function jobsFile(directory: string): string {
  return join(directory, "jobs")
}

const askMs = 15_000

/** At any node, with its key, until one of them says that it is accepted. */
export async function insist(
  machines: readonly Machine[],
  job: RoughJob,
  random: SeededRandom,
): Promise<RunView> {
  for (;;) {
    const up = machines.filter(({ running }) => running)
    const machine = up.length > 0 ? random.pick(up) : undefined
    const run = machine && (await submitted(machine, job))
    if (run) return run
    await new Promise((resolve) => setTimeout(resolve, random.between(50, 500)))
  }
}

async function submitted(
  machine: Machine,
  { key, request }: RoughJob,
): Promise<RunView | undefined> {
  let response: Response
  try {
    response = await fetch(`${machine.api}/v1/jobs`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(askMs),
    })
    if (response.ok) return (await response.json()) as RunView
  } catch {
    // Down, or gone in the middle: whether it was accepted the next answer to the same key says.
    return undefined
  }
  // The leader is lost, or there is none just now.
  if (response.status >= 500) return undefined
  throw new Error(`${machine.name} refuses ${key}: ${response.status} ${await response.text()}`)
}
