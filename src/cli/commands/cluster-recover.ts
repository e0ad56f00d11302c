/** `troupe cluster recover`: a new incarnation from one stopped node, when most voters are lost for good. */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"
import type { Recovery } from "../../assembly/index.ts"
import { createClient } from "../../client/index.ts"
import { loadConfig } from "../../config/index.ts"
import { createLogger } from "../../platform/index.ts"
import { incarnationOf, isTroupeError } from "../../schema/index.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { printOne } from "../output.ts"
import { findOwner } from "../pid-file.ts"
import {
  consequences,
  type Copy,
  copyColumns,
  refusalOf,
  sortOut,
  type Unreached,
} from "../recovery-text.ts"
import { apiUrls, formatOf, type Session } from "../session.ts"
import { renderTable } from "../table.ts"

interface Options {
  readonly data?: string
  readonly cluster?: string
  readonly config?: string
  readonly peer: readonly string[]
  readonly dataDir: readonly string[]
  readonly yes?: boolean
  readonly dryRun?: boolean
  readonly loseNewerEntries?: boolean
  readonly output?: string
}

const askMs = 3000
const apiPort = 8770

export async function recover(session: Session, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const { data, cluster, config: file } = options
  const { config } = loadConfig({
    flags: { ...(data !== undefined && { data }), ...(cluster !== undefined && { cluster }) },
    ...(file !== undefined && { file }),
  })
  if (!hasNode(config.data)) {
    throw new UsageError(
      `there is no node in ${config.data}`,
      "name its directory with --data, or its cluster with --cluster",
    )
  }
  const owner = await findOwner(config.data)
  if (owner) {
    throw new UsageError(
      `a node is running in ${config.data} (process ${owner.pid})`,
      "stop it first: troupe node stop",
    )
  }
  const { openRecovery } = await import("../../assembly/index.ts")
  const logger = createLogger({ level: "warn" })
  const recovery = await openRecovery(config.data, logger)
  try {
    const { name, isOnlyVoter, position } = recovery
    const own: Copy = { node: name, where: config.data, isOnlyVoter, ...position }
    const named = options.peer.flatMap((url) => apiUrls(session, url))
    const asked = await Promise.all([
      ...[...addressesOf(recovery, named)].map(async ([url, node]) => {
        const answer = await askPeer(url, own)
        return "reason" in answer ? { node, ...answer } : answer
      }),
      ...options.dataDir.map(async (directory) => await readDirectory(directory, own)),
    ])
    const { others, unreached } = sortOut(asked, own)
    show(session, { own, others, unreached })
    const refusal = refusalOf(own, others, options.loseNewerEntries === true)
    if (refusal) throw new UsageError(refusal.reason, refusal.remedy)
    for (const line of consequences(own, { others, unreached })) session.terminal.tell(line)
    if (options.dryRun) return exitCodes.ok
    await confirm(session, recovery.cluster, options.yes === true)
    const clusterId = await recovery.recover()
    const value = { node: own.node, clusterId, incarnation: incarnationOf(clusterId) }
    await printOne(session.terminal, format, {
      kind: "ClusterRecovered",
      value,
      text: () =>
        `recovered: incarnation ${value.incarnation} (${clusterId}); start it: troupe node start`,
    })
    return exitCodes.ok
  } finally {
    await recovery.close()
  }
}

function hasNode(directory: string): boolean {
  return existsSync(join(directory, "node.json"))
}

/** Where to ask, and whose address it is where that is known. Where others answered is known for those who said so; the
 *  rest are tried at the usual port. */
function addressesOf(
  recovery: Pick<Recovery, "apis" | "members" | "position">,
  named: readonly string[],
): ReadonlyMap<string, string | undefined> {
  const urls = new Map<string, string | undefined>(named.map((url) => [url, undefined]))
  for (const { id, name, addresses } of recovery.members) {
    if (id === recovery.position.memberId) continue
    for (const address of addresses) {
      const [, family, host = ""] = address.split("/")
      urls.set(`http://${family === "ip6" ? `[${host}]` : host}:${apiPort}`, name)
    }
  }
  for (const [name, url] of Object.entries(recovery.apis)) urls.set(url, name)
  return urls
}

type Answer = Copy | Unreached

async function askPeer(url: string, own: Copy): Promise<Answer> {
  try {
    const client = createClient({ baseUrl: url, triesMax: 1 })
    const view = await client.replica({ signal: AbortSignal.timeout(askMs) })
    const hasNothing = true
    if (!view.hasLog)
      return { where: url, reason: `${view.node} has no copy of the log`, hasNothing }
    const isSame = baseOf(view.clusterId) === baseOf(own.clusterId)
    if (!isSame) return { where: url, reason: `${view.node} is of another cluster`, hasNothing }
    return { where: url, ...view }
  } catch (error) {
    const reason = isTroupeError(error) ? error.message : "does not answer"
    return { where: url, reason }
  }
}

/** A cluster's id without what recoveries added. */
function baseOf(clusterId: string): string {
  return incarnationOf(clusterId) === 0 ? clusterId : clusterId.replace(/-\d+-[0-9a-f]{8}$/, "")
}

/** A directory of another node on this machine, e.g. of a disk that was put in. */
async function readDirectory(directory: string, own: Copy): Promise<Answer> {
  const nothing = { where: directory, hasNothing: true }
  if (resolve(directory) === resolve(own.where)) return { ...nothing, reason: "is this node's own" }
  if (!hasNode(directory)) return { ...nothing, reason: "there is no node in it" }
  const { readPosition } = await import("../../assembly/index.ts")
  try {
    const { name, position } = await readPosition(directory, createLogger({ level: "warn" }))
    if (baseOf(position.clusterId) !== baseOf(own.clusterId)) {
      return { ...nothing, reason: `${name} is of another cluster` }
    }
    return { node: name, where: directory, ...position }
  } catch (error) {
    if (!isTroupeError(error)) throw error
    return { where: directory, reason: error.message }
  }
}

function show(
  session: Session,
  seen: { own: Copy; others: readonly Copy[]; unreached: readonly Unreached[] },
): void {
  const { terminal } = session
  const bold = (text: string): string => terminal.paintError("bold", text)
  const rows = [{ ...seen.own, node: `${seen.own.node} (this)` }, ...seen.others]
  for (const line of renderTable(rows, copyColumns, { width: undefined, bold })) terminal.tell(line)
  for (const { where, reason } of seen.unreached) terminal.tell(`${where}: ${reason}`)
  terminal.tell("")
}

async function confirm(session: Session, cluster: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!session.terminal.interactive) {
    throw new UsageError("nobody can be asked here", "say --yes, or run it in a terminal")
  }
  session.terminal.draw(`Type the cluster's name (${cluster}) to go on: `)
  const lines = createInterface({ input: process.stdin, terminal: false })
  const answer = await new Promise<string>((resolve) => {
    lines.once("line", resolve)
    lines.once("close", () => resolve(""))
  })
  lines.close()
  if (answer.trim() !== cluster) throw new UsageError("nothing was changed")
}
