/** Programs that jobs and nodes use: which are here, in which versions. */
import { runTool } from "../../platform/index.ts"
import { type Finding, ok, warn } from "./finding.ts"

const toolTimeoutMs = 3000

/** Program → how it is asked for its version. None of these talks to anybody. */
const asked: Readonly<Record<string, readonly string[]>> = {
  docker: ["--version"],
  git: ["--version"],
  iperf3: ["--version"],
  "nvidia-smi": ["--version"],
  openssl: ["version"],
  podman: ["--version"],
  python3: ["--version"],
  rsync: ["--version"],
  setpriv: ["--version"],
  ssh: ["-V"],
  tailscale: ["version"],
  tcpdump: ["--version"],
  tshark: ["--version"],
  wg: ["--version"],
}

/** The first thing in a program's own words that looks like a version. */
export function versionIn(text: string): string | undefined {
  return /\d+\.\d+[0-9A-Za-z.+~-]*/.exec(text)?.[0]
}

export async function checkTools(): Promise<Finding[]> {
  const found = await Promise.all(
    Object.entries(asked).map(async ([name, args]) => ({ name, version: await ask(name, args) })),
  )
  const here = found.filter(({ version }) => version !== undefined)
  const absent = found.filter(({ version }) => version === undefined).map(({ name }) => name)
  const list = here.map(({ name, version }) => `${name} ${version}`).join(", ")
  const rest = absent.length === 0 ? "" : `; not here: ${absent.join(", ")}`
  const findings = [ok("tools", `${list || "none of the usual ones"}${rest}`)]
  if (process.platform === "linux" && absent.includes("setpriv")) {
    const says = "no setpriv: a job that may be repeated elsewhere can outlive its keeper"
    findings.push(warn("setpriv", says, "install util-linux"))
  }
  return findings
}

/** Undefined when it is not there; `?` when it does not say. */
async function ask(name: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await runTool(name, args, { timeoutMs: toolTimeoutMs })
    return versionIn(`${stdout}\n${stderr}`) ?? "?"
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "?"
  }
}
