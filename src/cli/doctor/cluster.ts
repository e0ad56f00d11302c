/** What the node that runs here says of its cluster: clocks, versions, problems. */
import type { HealthView } from "../../schema/index.ts"
import { fail, type Finding, ok, warn } from "./finding.ts"

const offsetWarnMs = 1000
/** From here on a leader proposes no expiry of leases. */
const offsetFailMs = 60_000

export function checkCluster(health: HealthView, build: string): Finding[] {
  return [...checkOffset(health), checkVersions(health, build), checkHealth(health)]
}

function checkOffset({ nodes, node }: HealthView): Finding[] {
  const offset = nodes.find(({ name }) => name === node)?.clockOffsetMs
  if (offset === undefined) return []
  const check = "clock offset"
  const says = `${offset < 0 ? "" : "+"}${Math.round(offset)} ms against the median of all nodes`
  const remedy = "keep all nodes in step with a time server (chrony, systemd-timesyncd)"
  if (Math.abs(offset) >= offsetFailMs) return [fail(check, says, remedy)]
  return [Math.abs(offset) >= offsetWarnMs ? warn(check, says, remedy) : ok(check, says)]
}

function checkVersions({ nodes }: HealthView, build: string): Finding {
  const check = "versions"
  const byVersion = Map.groupBy(nodes, ({ version }) => version ?? "unknown")
  const count = nodes.length === 1 ? "the one node has" : `all ${nodes.length} nodes have`
  if (byVersion.size === 1 && byVersion.has(build)) return ok(check, `${count} ${build}`)
  const list = [...byVersion].map(
    ([version, some]) => `${version}: ${some.map(({ name }) => name).join(", ")}`,
  )
  const says = `nodes differ from each other or from this program (${build}): ${list.join("; ")}`
  return warn(check, says, "update them one after the other; jobs go on meanwhile")
}

function checkHealth({ status, problems, survives }: HealthView): Finding {
  const losses = survives === 1 ? "1 loss" : `${survives} losses`
  if (status === "ok" && problems.length === 0) return ok("cluster", `survives ${losses}`)
  const first = problems[0] ?? status
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ""
  return warn("cluster", `${first}${more}`, "see: troupe cluster health")
}
