/** The machine's clock, its cgroups and limits, and the Node that runs this. */
import { runTool } from "../../platform/index.ts"
import { fail, type Finding, ok, warn } from "./finding.ts"

const toolTimeoutMs = 3000
const nodeMajorMin = 22
const openFilesWarn = 4096

/** What the keeper's room can do here, as it found out. */
export interface Abilities {
  readonly trees: "cgroup2" | "freezer" | "pids" | "session"
  readonly limits: {
    readonly enforced: readonly string[]
    readonly missing: readonly { readonly limit: string; readonly reason: string }[]
    readonly openFilesMax: number
    readonly places: readonly { readonly version: 1 | 2; readonly directory: string }[]
  }
}

export function checkNode(version: string): Finding {
  const major = Number(/^v(\d+)/.exec(version)?.[1] ?? 0)
  if (major >= nodeMajorMin) return ok("node", version)
  return fail("node", `${version} is too old`, `install Node ${nodeMajorMin} or newer`)
}

const treeWords = {
  cgroup2: "a cgroup of its own (v2)",
  freezer: "a cgroup of its own (v1, freezer)",
  pids: "a cgroup of its own (v1, pids)",
} as const

export function checkAbilities({ trees, limits }: Abilities): Finding[] {
  const { enforced, missing, openFilesMax, places } = limits
  const findings: Finding[] = []
  if (trees === "session") {
    const says =
      "no cgroup can be made: a job that leaves its session and environment escapes a stop"
    const remedy = "run the node as a systemd unit with Delegate=yes, or as root"
    findings.push(warn("process trees", says, remedy))
  } else findings.push(ok("process trees", `each job has ${treeWords[trees]}`))
  const versions = [...new Set(places.map(({ version }) => `v${version}`))].join(" and ")
  const by = versions === "" ? "" : ` (cgroup ${versions})`
  if (enforced.length > 0) findings.push(ok("limits", `${enforced.join(", ")}${by}`))
  // One reason is often behind several.
  for (const [reason, lacking] of Map.groupBy(missing, (one) => one.reason)) {
    const names = lacking.map(({ limit }) => limit).join(", ")
    const [why, ...remedy] = reason.split("; ")
    const says = `${names} cannot be enforced: ${why}`
    findings.push(warn("limits", says, remedy.join("; ") || "use another machine for such jobs"))
  }
  const files = `${openFilesMax} at most for a process`
  if (openFilesMax >= openFilesWarn) findings.push(ok("open files", files))
  else {
    const remedy = "raise LimitNOFILE= of the unit, or ulimit -n"
    findings.push(
      warn("open files", `${files}: little for a node with many peers and jobs`, remedy),
    )
  }
  return findings
}

export async function checkClock(): Promise<Finding[]> {
  const check = "clock"
  if (process.platform !== "linux") return []
  const said = await askClock()
  if (said === true) return [ok(check, "is kept in step with a time server")]
  const remedy = "install and start chrony, or: timedatectl set-ntp true"
  if (said === false) return [warn(check, "is not kept in step with a time server", remedy)]
  return [warn(check, "nothing here tells whether it is kept in step", remedy)]
}

/** Undefined when nobody knows. */
async function askClock(): Promise<boolean | undefined> {
  const options = { timeoutMs: toolTimeoutMs }
  try {
    const args = ["show", "--property=NTPSynchronized", "--value"]
    const { exitCode, stdout } = await runTool("timedatectl", args, options)
    if (exitCode === 0) return stdout.trim() === "yes"
  } catch {
    // Not a systemd machine, or its bus does not answer: chrony may.
  }
  try {
    const { exitCode, stdout } = await runTool("chronyc", ["-n", "tracking"], options)
    if (exitCode === 0) return /^Leap status\s*: Normal/m.test(stdout)
  } catch {
    // No chrony either.
  }
  return undefined
}
