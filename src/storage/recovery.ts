/** Putting a new incarnation in the place of the old one: prepared beside it, announced, then moved, step by step; what a
 *  crash leaves undone the next open() of the directory does. */
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Identity } from "../schema/index.ts"
import { isMissing, makeDirectory, removeTree, renameDurably, writeDurably } from "./durable.ts"
import { manifestName } from "./wal-manifest.ts"

const folder = "recovering"
const planName = join(folder, "plan.json")
/** The log last: while it lies here, not all is in its place. */
const parts = [join("identity", manifestName), "raft"]

interface Plan {
  readonly step: "archive" | "place"
  readonly old: string
  readonly identity: Identity
}

/** Where the stores of the new incarnation are written. Empty afterwards; nothing of it counts before `announce`. */
export async function stageRecovery(directory: string): Promise<string> {
  const staged = join(directory, folder)
  await removeTree(staged)
  await makeDirectory(join(staged, "identity"))
  return staged
}

/** The point of no return: from here on the directory is the new incarnation, whatever crashes. The stores are closed. */
export async function announceRecovery(
  directory: string,
  change: { readonly old: string; readonly identity: Identity },
): Promise<void> {
  await writePlan(directory, { step: "archive", ...change })
}

/** Only what is announced is finished; anything else that was staged is cleared away. */
export async function finishRecovery(
  directory: string,
  identity: { archive(clusterId: string): Promise<void>; write(identity: Identity): Promise<void> },
): Promise<void> {
  const plan = await readPlan(directory)
  if (plan?.step === "archive") {
    await identity.archive(plan.old)
    await writePlan(directory, { ...plan, step: "place" })
  }
  if (plan) {
    for (const part of parts) await place(directory, part)
    await identity.write(plan.identity)
  }
  await removeTree(join(directory, folder))
}

async function place(directory: string, part: string): Promise<void> {
  const to = join(directory, part)
  try {
    await makeDirectory(dirname(to))
    await renameDurably(join(directory, folder, part), to)
  } catch (error) {
    // Moved before the crash.
    if (!isMissing(error)) throw error
  }
}

async function writePlan(directory: string, plan: Plan): Promise<void> {
  await writeDurably(join(directory, planName), `${JSON.stringify(plan)}\n`)
}

async function readPlan(directory: string): Promise<Plan | undefined> {
  let text: string
  try {
    text = await readFile(join(directory, planName), "utf8")
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  const { step, old, identity } = JSON.parse(text) as Plan
  return { step, old, identity: Identity.parse(identity) }
}
