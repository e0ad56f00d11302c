/** What holds where nobody said anything, and the presets: differences for networks of another kind. */
import { availableParallelism, homedir, hostname } from "node:os"
import { isAbsolute, join } from "node:path"

/** What defaults depend on; the real machine unless a test says otherwise. */
export interface Machine {
  readonly hostname: string
  readonly cores: number
  readonly home: string
  readonly root: boolean
  readonly cwd: string
}

export interface Timing {
  readonly tickMs: number
  readonly heartbeatMs: number
  /** Elections begin after this to twice this without a leader. */
  readonly electionMinMs: number
}

// An election must never be shorter than ten times the p99 of a round trip, an fsync or the loop's delay (DESIGN.md
// §5.6); `cluster health` shows what was measured.
export const presets: Readonly<Record<"lan" | "wan" | "local", Timing>> = {
  lan: { tickMs: 25, heartbeatMs: 100, electionMinMs: 500 },
  wan: { tickMs: 100, heartbeatMs: 500, electionMinMs: 2500 },
  local: { tickMs: 10, heartbeatMs: 50, electionMinMs: 250 },
}

export function thisMachine(): Machine {
  return {
    hostname: hostname(),
    cores: availableParallelism(),
    home: homedir(),
    root: process.getuid?.() === 0,
    cwd: process.cwd(),
  }
}

/** The host name's first part, as far as it can be a node's name. */
export function defaultName(machine: Machine): string {
  const first = machine.hostname.split(".")[0] ?? ""
  const name = first.replace(/[^A-Za-z0-9_-]/g, "-").replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "")
  return name.slice(0, 63) || "node"
}

/** `$XDG_STATE_HOME/troupe/<cluster>`; without it `/var/lib/troupe/<cluster>` for root, else below the home. */
export function defaultData(
  machine: Machine,
  options: { cluster: string; stateHome: string | undefined },
): string {
  const { stateHome, cluster } = options
  // The XDG specification: a relative path is to be ignored.
  if (stateHome !== undefined && isAbsolute(stateHome)) return join(stateHome, "troupe", cluster)
  if (machine.root) return join("/var/lib/troupe", cluster)
  return join(machine.home, ".local/state/troupe", cluster)
}
