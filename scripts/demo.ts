/** The demo: three nodes, one real measurement, one leader killed in the middle of the next. Ends by itself. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { styleText } from "node:util"
import { type DemoHost, makeHosts } from "./demo-hosts.ts"

const root = join(import.meta.dirname, "..")
const troupe = [process.execPath, join(root, "dist/troupe.js")]
const mode = process.env["DEMO_MODE"] === "hosts" ? "hosts" : "loopback"
const hasIperf = has("iperf3")
const manifest = join(root, "config/examples", hasIperf ? "iperf3.yaml" : "throughput.yaml")
const waitMs = 90_000

interface DemoNode extends DemoHost {
  readonly data: string
  process: ChildProcess
  ended: Promise<void>
}

let stepNumber = 0
function step(text: string): void {
  console.log(`\n${styleText("bold", `${++stepNumber}. ${text}`)}`)
}

function say(text: string): void {
  console.log(`   ${text}`)
}

function has(tool: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" })
    return true
  } catch {
    // Not found is the answer.
    return false
  }
}

function start(host: DemoHost, directory: string): DemoNode {
  const data = join(directory, host.name)
  const args = ["node", "start", "--name", host.name, "--data", data, ...host.startFlags]
  const log = ["--log-file", join(directory, `${host.name}.log`)]
  const [program, ...rest] = [...host.enter, ...troupe, ...args, ...log]
  const child = spawn(program!, rest, { stdio: ["ignore", "ignore", "inherit"] })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  return { ...host, data, process: child, ended }
}

/** The CLI on a host; its standard output. */
function ask(host: DemoHost, ...args: readonly string[]): string {
  const [program, ...rest] = [...host.enter, ...troupe, ...args, "--api", host.api]
  return execFileSync(program!, rest, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  })
}

function show(host: DemoHost, ...args: readonly string[]): void {
  for (const line of ask(host, ...args)
    .trimEnd()
    .split("\n"))
    say(line)
}

interface Health {
  readonly survives: number
  readonly leader?: string
}

let lastSeen: unknown

/** While a node is away health exits with 5, and says what it has to say all the same. */
function healthText(host: DemoHost): string {
  try {
    return ask(host, "cluster", "health", "-o", "json")
  } catch (error) {
    const { status, stdout } = error as { status?: number | null; stdout?: string }
    if (status === 5 && stdout !== undefined) return stdout
    throw error
  }
}

function health(host: DemoHost): Health {
  try {
    const answer = JSON.parse(healthText(host)) as Health
    lastSeen = answer
    return answer
  } catch (error) {
    // Not up yet, or without a leader for a moment: asked again.
    lastSeen = error
    return { survives: -1 }
  }
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (Date.now() > deadline)
      throw new Error(`waited ${waitMs / 1000} s for ${what}`, { cause: lastSeen })
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

async function survivesOne(host: DemoHost): Promise<Health> {
  return await until("the cluster to survive a loss", () => {
    const now = health(host)
    return now.survives >= 1 ? now : undefined
  })
}

/** `troupe run` of the example under this run id, shown as it goes; its exit code. */
function run(
  host: DemoHost,
  label: string,
  place: { directory: string; bundles: string; plain?: boolean },
): { ended: Promise<number> } {
  const file = join(place.directory, `${label}.yaml`)
  writeFileSync(file, readFileSync(manifest, "utf8").replace(/^run_id: .*$/m, `run_id: ${label}`))
  const args = ["run", file, "--bundle-dir", place.bundles, "--api", host.api]
  const [program, ...rest] = [...host.enter, ...troupe, ...args]
  // Plain lines where something else is said meanwhile: the live view would draw over it.
  const env = place.plain ? { ...process.env, CI: "1" } : process.env
  const child = spawn(program!, rest, { stdio: ["ignore", "inherit", "inherit"], env })
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)))
  return { ended }
}

function verify(bundle: string): void {
  const check = execFileSync("sha256sum", ["-c", "--quiet", "SHA256SUMS"], {
    cwd: bundle,
    encoding: "utf8",
  })
  say(`sha256sum -c SHA256SUMS: ${check === "" ? "every file is as it was written" : check}`)
  const [program, ...rest] = [...troupe, "bundle", "verify", bundle]
  for (const line of execFileSync(program!, rest, { encoding: "utf8" }).trimEnd().split("\n"))
    say(line)
}

function bandwidth(bundle: string): string {
  const text = readFileSync(join(bundle, "analysis/summary.json"), "utf8")
  const found = /"bits_per_second": ([0-9.e+]+)/.exec(text)
  if (!found) throw new Error(`nothing was measured: ${bundle} has no bandwidth in its summary`)
  return `${(Number(found[1]) / 1e9).toFixed(2)} Gbit/s`
}

interface Shown {
  readonly phase: string
  readonly tasks: readonly {
    name: string
    node?: string
    state: string
    attempts: readonly { state: string }[]
  }[]
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-demo-"))
  const bundles = join(root, "runs")
  const { hosts, remove } = makeHosts(mode)
  const nodes: DemoNode[] = []
  const cleanUp = async (): Promise<void> => {
    for (const node of nodes) node.process.kill("SIGTERM")
    const late = setTimeout(() => {
      for (const node of nodes) node.process.kill("SIGKILL")
    }, 10_000)
    await Promise.all(nodes.map((node) => node.ended))
    clearTimeout(late)
    remove()
    // A keeper may write its last line meanwhile.
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
  const interrupted = (): void => void cleanUp().then(() => process.exit(130))
  process.once("SIGINT", interrupted)
  process.once("SIGTERM", interrupted)
  try {
    await play(hosts, { nodes, directory, bundles })
  } finally {
    await cleanUp()
  }
  step("Everything is stopped, nothing is left running")
  say(`the two bundles stay in ${relative(process.cwd(), bundles) || bundles}/`)
}

async function play(
  hosts: readonly DemoHost[],
  place: { nodes: DemoNode[]; directory: string; bundles: string },
): Promise<void> {
  const { nodes, directory, bundles } = place
  step(
    `Three nodes start, each with the same command (${mode === "hosts" ? "hosts on a bridge, mDNS" : "loopback, --join"})`,
  )
  for (const host of hosts) {
    say(`${host.name}$ troupe node start --name ${host.name} ${host.startFlags.join(" ")}`)
    nodes.push(start(host, directory))
  }
  const first = await survivesOne(nodes[0]!)
  step(`They found each other and elected ${first.leader}; the cluster survives one loss`)
  show(nodes[0]!, "cluster", "list")

  const stamp = new Date().toISOString().replace(/[:.]/g, "-").slice(0, 19)
  step(
    hasIperf
      ? "A real iperf3 measurement between two of them"
      : "iperf3 is missing: a TCP throughput program measures instead",
  )
  say(`${nodes[0]!.name}$ troupe run ${relative(root, manifest)}`)
  const labelOne = `demo-${stamp}`
  const code = await run(nodes[0]!, labelOne, place).ended
  if (code !== 0) throw new Error(`the run ended with exit code ${code}`)
  say(`measured: ${styleText("bold", bandwidth(join(bundles, labelOne)))}`)
  step("Its bundle came home and verifies")
  say(join(bundles, labelOne))
  verify(join(bundles, labelOne))

  await survive(nodes, { directory, bundles, label: `demo-${stamp}-killed` })
}

/** The second run: its leader dies in the middle, it ends all the same. */
async function survive(
  nodes: DemoNode[],
  place: { directory: string; bundles: string; label: string },
): Promise<void> {
  const { directory, bundles, label } = place
  const before = await survivesOne(nodes[0]!)
  const leader = nodes.find((node) => node.name === before.leader)!
  const entry = nodes.find((node) => node !== leader)!
  step(
    `The same again from ${entry.name}; the leader ${leader.name} is killed with kill -9 in its middle`,
  )
  const second = run(entry, label, { ...place, plain: true })
  await until("the client to run", () => {
    const shown = shownRun(entry, label)
    const client = shown?.tasks.find((task) => task.name === "client")
    return client?.attempts.some((attempt) => attempt.state !== "assigned") ? shown : undefined
  })
  leader.process.kill("SIGKILL")
  const killedAt = Date.now()
  say(styleText("red", `kill -9 ${leader.process.pid} (${leader.name}, the leader)`))
  const after = await until("another leader", () => {
    const now = health(entry)
    return now.leader !== undefined && now.leader !== leader.name && now.survives >= 0
      ? now
      : undefined
  })
  say(
    `${after.leader} leads (seen by the command line after ${Date.now() - killedAt} ms, of which most is its own start)`,
  )
  const code = await second.ended
  if (code !== 0) throw new Error(`the run ended with exit code ${code}`)
  step("The run ended right without its leader, and its bundle verifies too")
  verify(join(bundles, label))

  step(`${leader.name} comes back and takes its place again`)
  nodes[nodes.indexOf(leader)] = start(leader, directory)
  const healed = await survivesOne(entry)
  say(`the cluster survives ${healed.survives} loss again, ${healed.leader} leads`)
  show(entry, "runs", "list")
}

function shownRun(host: DemoHost, label: string): Shown | undefined {
  try {
    return JSON.parse(ask(host, "runs", "show", label, "-o", "json")) as Shown
  } catch {
    // Not accepted yet.
    return undefined
  }
}

await main()
