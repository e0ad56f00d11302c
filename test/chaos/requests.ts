/** What chaos clients submit: runs of one short job that says, in a file all nodes share, when it starts and ends. */
import { readFileSync } from "node:fs"
import type { SubmitRunInput } from "../../src/schema/index.ts"
import { hashText } from "../lincheck/hash-text.ts"
import { SeededRandom } from "../support/random.ts"

/** Same key and body, same request: whoever sends it. */
export function requestOf(key: string, body: string, jobs: string): SubmitRunInput {
  const random = new SeededRandom(hashText(key))
  const seconds = random.chance(0.7) ? random.between(0, 10) / 10 : random.between(10, 40) / 10
  const say = (word: string): string =>
    `echo ${word} $TROUPE_RUN_ID $TROUPE_ROLE $TROUPE_ATTEMPT $TROUPE_FENCE >> ${jobs}`
  return {
    document: `api_version: v1
run_id: ${key}
roles:
  only:
    # body ${body}
    command: [sh, -c, "${say("start")}; sleep ${seconds}; ${say("end")}"]
`,
    timeoutMs: 60_000,
    analyze: false,
  }
}

/** What one job said, in the order of the file. */
export interface JobLine {
  readonly word: "start" | "end"
  readonly run: string
  readonly task: string
  readonly n: number
  readonly fence: number
}

export function readJobs(file: string): JobLine[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [word, run, task, n, fence] = line.split(" ")
      return {
        word: word as JobLine["word"],
        run: run!,
        task: task!,
        n: Number(n),
        fence: Number(fence),
      }
    })
}
