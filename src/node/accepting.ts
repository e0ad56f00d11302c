/** How a plan becomes a run: what it asks for is looked for, it is proposed, and answered when it has its copies. */
import { knownVersions, type Plan, type RunView, TroupeError } from "../schema/index.ts"
import {
  activeVersion,
  type Command,
  type ItemResult,
  membersBehind,
  readMembers,
  readRun,
} from "../state/index.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"
import { planRaise } from "./raising.ts"
import { runView } from "./run-rows.ts"

const toolsMs = 1000
const settleLookMs = 100
/** Placements that travel with a submit; the rest follow by entries of their own. */
const firstPlacementsMax = 256
/** A young cluster is raised within this. */
const raiseMs = 5000

/** What any front door has made of its document. */
export interface PlanBody {
  readonly plan: Plan
  readonly entryNode: string
  readonly bodyHash: string
}

export interface Accepted {
  readonly run: RunView
  readonly existing: boolean
  readonly warnings: readonly string[]
  readonly copies: number
}

/** Places what can start at once, proposes, and answers when it has its copies. */
export async function accept(
  parts: OperationParts,
  { plan, entryNode, bodyHash }: PlanBody,
  options: CallOptions,
): Promise<Accepted> {
  const { context, leadership } = parts
  await findTools(parts, plan, options.signal)
  await settle(parts, options.signal)
  if (isOfVersion3(plan)) await raised(parts, 3, options.signal)
  const placements = context.parts.hold
    ? []
    : leadership.scheduler.placeFirst(plan, { ...leadership.placing(), budget: firstPlacementsMax })
  const principal = options.principal ?? "anonymous"
  const key = options.key ?? bodyHash
  const item = { principal, key, bodyHash, entryNode, plan, placements }
  const done = (): void => leadership.scheduler.settle(placements)
  return await propose(parts, { type: "submit", items: [item] }, { key, done })
}

/** A command of one item that makes a run, and the answer to who asked for it. */
export async function propose(
  parts: OperationParts,
  command: Extract<Command, { type: "submit" | "retry" }>,
  /** `done` is called when the command is applied or lost. */
  { key, done }: { readonly key: string; readonly done?: () => void },
): Promise<Accepted> {
  const { replica } = parts
  // Proposed in here, so that what cannot be encoded is done with too.
  const proposed = async () => await replica.propose(command)
  const { index, results } = await proposed().finally(done)
  const run = settled(results[0], key)
  const copies = await secure(parts, index)
  const view = await replica.viewOf(run.run)
  if (run.existing && readRun(view, run.run) === undefined) {
    // The key is remembered longer than the run: it is never run twice.
    const what = `run ${run.run} was accepted with the key '${key}' and has since been removed`
    throw new TroupeError("ERR_RUN_NOT_FOUND", what, { run: run.run })
  }
  const isAlone = copies === 1 && readMembers(replica.tables).length > 1
  return {
    run: runView(view, run.run, "some"),
    existing: run.existing,
    warnings: isAlone ? ["copies: 1"] : [],
    copies,
  }
}

/** What builds of version 2 would not understand: they would run it as if it were not there. */
function isOfVersion3({ kind, groups, priority }: Plan): boolean {
  if (kind !== "manifest" || priority !== undefined) return true
  return groups.some((group) => {
    const { parallel, failFast, exclusive, placing, selfStopMs, backoffMaxMs, needs } = group
    const asked = [parallel, failFast, exclusive, placing, selfStopMs, backoffMaxMs, needs.gpus]
    return asked.some((value) => value !== undefined)
  })
}

/** Resolves when the cluster has this version, which one that has just formed soon has. ERR_UNSUPPORTED. */
export async function raised(
  parts: OperationParts,
  version: number,
  signal: AbortSignal,
): Promise<void> {
  const { replica, context } = parts
  const { clock } = context.parts
  const own = context.options.versions ?? knownVersions
  const deadline = clock.boottime() + raiseMs
  while (replica.isLeading() && activeVersion(replica.tables) < version) {
    const left = deadline - clock.boottime()
    const isComing = planRaise(replica.tables, { own, confState: replica.status().confState })
    if (left <= 0 || isComing === undefined) {
      const names = membersBehind(replica.tables, version).map(({ name }) => name)
      const who = names.length === 0 ? "all nodes" : names.join(", ")
      const what = `this works after all nodes are updated; to be updated: ${who}`
      throw new TroupeError("ERR_UNSUPPORTED", what, { what })
    }
    await parts.changed(left, signal)
  }
}

/** A cluster that has accepted work never gives way: one that was founded a moment ago, because it heard of another too late,
 *  still does (DESIGN.md §5.7). */
async function settle(parts: OperationParts, signal: AbortSignal): Promise<void> {
  for (let left = parts.settlingMs(); left > 0; left = parts.settlingMs()) {
    await parts.changed(Math.min(left, settleLookMs), signal)
    if (!parts.replica.isLeading()) return
  }
}

/** With one voter, the standbys' copies gate the answer for a moment (DESIGN.md §5.4, §5.7). */
async function secure(parts: OperationParts, index: number): Promise<number> {
  const { replica, leadership, context } = parts
  const { confState } = replica.status()
  if (confState.voters.length > 1) return replica.copies(index)
  const answering = [...leadership.contacts()].filter(
    ([id, contact]) => id !== replica.memberId && contact.answered,
  ).length
  const wanted = Math.min(3, 1 + answering)
  return await replica.waitCopies(index, wanted, context.options.timing.holdMs)
}

function settled(result: ItemResult | undefined, key: string): { run: string; existing: boolean } {
  if (result?.ok && result.run) return { run: result.run, existing: result.existing ?? false }
  if (result && !result.ok && result.code === "conflict") {
    throw new TroupeError(
      "ERR_KEY_CONFLICT",
      `the key '${key}' was used for another request: ${result.detail}`,
      { key, run: result.detail },
    )
  }
  if (result && !result.ok && (result.code === "not-found" || result.code === "stale")) {
    throw new TroupeError("ERR_CONFLICT", `it cannot be run again: ${result.detail}`, {
      reason: result.detail,
    })
  }
  const hint = "the cluster is joining another one; ask again in a moment"
  throw new TroupeError("ERR_NO_LEADER", hint, { waitedMs: 0 })
}

/** Nodes declare the usual programs only: for any other that a manifest needs, they are asked first. */
export async function findTools(
  parts: OperationParts,
  plan: Plan,
  signal: AbortSignal,
): Promise<void> {
  const { context, replica, leadership } = parts
  const members = readMembers(replica.tables)
  const declared = new Set(members.flatMap((member) => member.tools))
  const wanted = new Set(plan.groups.flatMap((group) => group.needs.tools ?? []))
  const tools = [...wanted].filter((tool) => !declared.has(tool))
  if (tools.length === 0) return
  const limit = AbortSignal.any([
    signal,
    context.parts.clock.timeoutSignal(toolsMs, "asking for programs"),
  ])
  const asked = members.map(async (member) => {
    if (member.id === replica.memberId) await context.lookForTools(tools)
    else if (leadership.contacts().get(member.id)?.answered) {
      await context.callPeer(member, "lookForTools", { tools }, { signal: limit })
    }
  })
  // Who does not answer in time is asked by the next run; meanwhile `explain` says what it lacks.
  await Promise.allSettled(asked)
}
