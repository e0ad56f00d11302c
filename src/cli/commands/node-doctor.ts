/** `troupe node doctor`: what of this machine helps or hinders a node. */
import { createClient } from "../../client/index.ts"
import { build, type Config, loadConfig } from "../../config/index.ts"
import type { HealthView } from "../../schema/index.ts"
import { checkCluster } from "../doctor/cluster.ts"
import {
  checkDirectory,
  checkIdentity,
  checkKeepers,
  checkSpace,
  checkSync,
  nearestDirectory,
  type Place,
} from "../doctor/data-directory.ts"
import { fail, type Finding, ok } from "../doctor/finding.ts"
import { checkAbilities, checkClock, checkNode } from "../doctor/machine.ts"
import { checkPorts } from "../doctor/ports.ts"
import { checkTools } from "../doctor/tools.ts"
import { exitCodes } from "../exit.ts"
import { printOne } from "../output.ts"
import { findOwner } from "../pid-file.ts"
import { formatOf, type Session } from "../session.ts"
import type { Colour } from "../terminal.ts"

interface Options {
  readonly output?: string
  readonly data?: string
  readonly cluster?: string
  readonly config?: string
  readonly listen?: string
  readonly api?: string
}

const askTimeoutMs = 1500

export async function nodeDoctor(session: Session, options: Options): Promise<number> {
  const { terminal } = session
  const format = formatOf(session, options.output)
  const { output: _, config: file, ...named } = options
  // Who names an address here asks about it and opens nothing.
  const isNamed = named.listen !== undefined || named.api !== undefined
  const flags = { ...named, ...(isNamed && { insecure: true }) }
  const { config } = loadConfig({ flags, ...(file !== undefined && { file }) })
  const findings = await examine(session, config)
  const failed = findings.filter(({ status }) => status === "fail").length
  const value = { data: config.data, failed, findings }
  await printOne(terminal, format, {
    kind: "Diagnosis",
    value,
    text: () => diagnosisText(findings, session),
  })
  return failed > 0 ? exitCodes.lost : exitCodes.ok
}

async function examine(session: Session, config: Config): Promise<Finding[]> {
  const { data, listen, api, timing } = config
  const nearest = nearestDirectory(data)
  const owner = (await findOwner(data))?.pid
  const place: Place = { data, nearest, owner }
  // Only here is the node's own code loaded: what a keeper could do is found out by its own room.
  const { hostAbilities } = await import("../../assembly/index.ts")
  const [clock, tools, cluster] = await Promise.all([
    checkClock(),
    checkTools(),
    askCluster(session, config, owner),
  ])
  const directory = checkDirectory(place)
  const isUsable = directory.every(({ status }) => status !== "fail")
  const ports = checkPorts(
    [
      { flag: "--listen", what: "mesh", address: listen },
      { flag: "--api", what: "api", address: api },
    ],
    owner,
  )
  const abilities = checkAbilities(hostAbilities())
  return [
    checkNode(process.version),
    ...directory,
    ...checkIdentity(place),
    ...checkKeepers(place),
    ...checkSpace(place),
    // Last of the disk's, and alone: it measures.
    ...(isUsable ? checkSync(place, timing.electionMinMs) : []),
    ...clock,
    ...abilities,
    ...ports,
    ...tools,
    ...cluster,
  ]
}

/** Only this machine's own node is asked. */
async function askCluster(
  { clock }: Session,
  { api }: Config,
  owner: number | undefined,
): Promise<Finding[]> {
  if (owner === undefined) return [ok("cluster", "not asked: no node is running here")]
  const host = ["0.0.0.0", "::"].includes(api.host) ? "127.0.0.1" : api.host
  const baseUrl = `http://${host.includes(":") ? `[${host}]` : host}:${api.port}`
  let health: HealthView
  try {
    const signal = clock.timeoutSignal(askTimeoutMs, "asking this machine's node")
    health = await createClient({ baseUrl, triesMax: 1 }).health({ signal })
  } catch (error) {
    const says = `the node (process ${owner}) does not answer at ${baseUrl}: ${(error as Error).message}`
    return [fail("cluster", says, "give its --api or --config; else see its log")]
  }
  return checkCluster(health, build.version)
}

const colours: Readonly<Record<Finding["status"], Colour>> = {
  ok: "green",
  warn: "yellow",
  fail: "red",
}

function diagnosisText(findings: readonly Finding[], { terminal }: Session): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, status, says, remedy }) => [
    `${terminal.paint(colours[status], status.padEnd(4))}  ${check.padEnd(width)}  ${says}`,
    ...(remedy === undefined ? [] : [`${" ".repeat(width + 8)}→ ${remedy}`]),
  ])
  return lines.join("\n")
}
