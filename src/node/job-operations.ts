/** What only the leader answers about jobs, and about finished runs that are to run again. */
import { createHash } from "node:crypto"
import { CodecError } from "../lib/index.ts"
import { compileJob, unknownNode } from "../manifests/index.ts"
import { type Plan, type PlanView, type Run, SubmitJob, TroupeError } from "../schema/index.ts"
import { carryOver, firstUnmet, findRun, readMembers, type RetryItem } from "../state/index.ts"
import { accept, type Accepted, findTools, propose, raised } from "./accepting.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"
import { planView } from "./plan-view.ts"
import { find } from "./run-operations.ts"
import { runNotFound } from "./run-rows.ts"

export interface JobBody {
  readonly request: SubmitJob
  readonly entryNode: string
  readonly bodyHash: string
}

export interface RetryBody {
  readonly run: string
  readonly how: RetryItem["how"]
  readonly entryNode: string
}

export async function submitJob(
  parts: OperationParts,
  body: JobBody,
  options: CallOptions,
): Promise<Accepted> {
  const plan = compile(parts, body)
  await findTools(parts, plan, options.signal)
  refuseImpossible(parts, plan)
  const { entryNode, bodyHash } = body
  return await accept(parts, { plan, entryNode, bodyHash }, options)
}

export async function planJob(
  parts: OperationParts,
  body: JobBody,
  options: CallOptions,
): Promise<PlanView> {
  await parts.replica.readBarrier(options.signal)
  const plan = compile(parts, body)
  await findTools(parts, plan, options.signal)
  return await planView(parts, { plan, warnings: [] }, options.signal)
}

function compile({ replica, context }: OperationParts, body: JobBody): Plan {
  const request = SubmitJob.parse(body.request)
  const { entryNode } = body
  const nodeNames = readMembers(replica.tables).map((member) => member.name)
  const { plan, issues } = compileJob(request, {
    entryNode,
    now: context.parts.clock.now(),
    toolVersion: context.options.version,
    sha256: (text) => createHash("sha256").update(text).digest("hex"),
  })
  if (plan === undefined) {
    const count = issues.length === 1 ? "one mistake" : `${issues.length} mistakes`
    throw new TroupeError("ERR_REQUEST_INVALID", `the job has ${count}`, { issues })
  }
  const unknown = unknownNode(plan.groups[0]!.needs, nodeNames)
  if (unknown === undefined) return plan
  const guess = unknown.nearest === undefined ? "" : `; did you mean ${unknown.nearest}?`
  const nodes = `nodes: ${nodeNames.toSorted().join(", ")}`
  throw new TroupeError("ERR_UNPLACEABLE", `there is no node ${unknown.node}${guess}`, {
    task: plan.groups[0]!.name,
    reasons: [nodes],
  })
}

/** What no node of the roster could ever run is told at once: waiting would help nobody. */
function refuseImpossible({ replica }: OperationParts, plan: Plan): void {
  const members = readMembers(replica.tables)
  for (const { name, needs } of plan.groups) {
    const reasons: string[] = []
    for (const member of members) {
      const unmet = firstUnmet(needs, member)
      if (unmet !== undefined) reasons.push(`${member.name} ${unmet.reason}`)
    }
    if (reasons.length < members.length) continue
    throw new TroupeError("ERR_UNPLACEABLE", "no node has what this needs", { task: name, reasons })
  }
}

/** A new run of a finished one. */
export async function retryRun(
  parts: OperationParts,
  body: RetryBody,
  options: CallOptions,
): Promise<Accepted> {
  const { replica } = parts
  await replica.readBarrier(options.signal)
  const origin = findRun(replica.tables, body.run)
  if (origin === undefined) throw runNotFound(body.run)
  if (origin.state !== "finished") throw notFinished(origin)
  await raised(parts, 3, options.signal)
  const { id, view } = await find(parts, origin.id)
  const carried = carryOver(view, id, body.how)
  if (carried === undefined) throw runNotFound(body.run)
  if (body.how === "failed" && origin.verdict === "succeeded") {
    const reason = `run ${origin.label} succeeded: nothing of it has failed`
    const remedy = "run all of it again with: troupe runs rerun"
    throw new TroupeError("ERR_CONFLICT", `${reason}; ${remedy}`, { reason })
  }
  const principal = options.principal ?? "anonymous"
  const key = options.key ?? ""
  const { how, entryNode } = body
  const item: RetryItem = {
    ...carried,
    run: id,
    how,
    principal,
    key,
    entryNode,
    bodyHash: `${how} of ${id}`,
  }
  try {
    return await propose(parts, { type: "retry", items: [item] }, { key })
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    const what = `run ${origin.label} has more results than a new run can take over`
    const remedy = "run all of it again with: troupe runs rerun"
    throw new TroupeError("ERR_LIMIT", `${what}; ${remedy}`, { what, max: item.kept.length })
  }
}

function notFinished({ id, label }: Run): TroupeError<"ERR_RUN_NOT_FINISHED"> {
  const what = `run ${label} goes on: only what is finished can run again`
  return new TroupeError("ERR_RUN_NOT_FINISHED", what, { run: id })
}
