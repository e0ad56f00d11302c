/** `troupe cluster cordon|uncordon|drain|declare-dead`: what somebody says of one node's work. */
import type { Client } from "../../client/index.ts"
import { type NodeCordoned, type NodeView, TroupeError } from "../../schema/index.ts"
import { connect } from "../connect.ts"
import { formatDuration } from "../duration.ts"
import { exitCodes } from "../exit.ts"
import { printOne } from "../output.ts"
import { formatOf, type Session } from "../session.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

const lookMs = 1000
/** A node that is silent for so long may be gone for good. */
const silentMs = 10_000
/** Tasks that a line of progress names. */
const namesMax = 5

export async function cordon(
  session: Session,
  node: string,
  options: Options & { readonly reason: string },
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.cordonNode(node, { mode: "cordon", reason: options.reason })
  const text = (): string =>
    `${value.node} takes no new work${value.attempts === 0 ? "" : `; ${heldText(value)} there`}`
  await printOne(session.terminal, format, { kind: "NodeCordoned", value, text })
  warn(session, value)
  return exitCodes.ok
}

export async function uncordon(session: Session, node: string, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.cordonNode(node, { mode: "open" })
  const text = (): string => `${value.node} takes work`
  await printOne(session.terminal, format, { kind: "NodeCordoned", value, text })
  return exitCodes.ok
}

export interface DrainOptions extends Options {
  readonly reason: string
  readonly deadline?: number
  readonly timeout: number
  readonly wait: boolean
}

/** Waits until nothing runs there any more; the drain goes on when it is interrupted. */
export async function drain(
  session: Session,
  node: string,
  options: DrainOptions,
): Promise<number> {
  const { reason, deadline, wait, timeout } = options
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const { terminal, clock } = session
  const begun = await client.cordonNode(node, {
    mode: "drain",
    reason,
    ...(deadline !== undefined && { deadlineMs: deadline }),
  })
  warn(session, begun)
  let value = begun
  if (wait && begun.attempts > 0) {
    const until = deadline === undefined ? "" : `, stopped in ${formatDuration(deadline)}`
    terminal.tell(`${begun.node}: ${heldText(begun)} there${until}: ${namesText(begun.holds)}`)
    const signal = clock.timeoutSignal(timeout, `draining ${begun.node}`)
    await untilEmpty(session, client, { begun, signal })
    value = { ...begun, attempts: 0, holds: [] }
  }
  const text = (): string =>
    value.attempts === 0
      ? `${value.node} is drained: nothing runs there`
      : `${value.node} is being drained: ${heldText(value)} there`
  await printOne(terminal, format, { kind: "NodeCordoned", value, text })
  if (value.attempts === 0) {
    terminal.tell(`it takes work again with: troupe cluster uncordon ${value.node}`)
  }
  return exitCodes.ok
}

async function untilEmpty(
  { terminal, clock }: Session,
  client: Client,
  { begun, signal }: { readonly begun: NodeCordoned; readonly signal: AbortSignal },
): Promise<void> {
  let told = begun.attempts
  let isSilent = false
  for (;;) {
    const view = (await client.nodes({ signal })).find(({ member }) => member.id === begun.id)
    // Removed meanwhile: what ran there is settled.
    if (view === undefined) return
    if (view.member.cordon?.mode !== "drain") throw noLongerDrained(view)
    const { attempts: left, holds = [] } = view
    if (left === 0) return
    if (left !== undefined && left !== told) {
      terminal.tell(`${begun.node}: ${left} left: ${namesText(holds)}`)
      told = left
    }
    if (view.state === "silent" && (view.silentMs ?? 0) > silentMs && !isSilent) {
      isSilent = true
      terminal.tell(
        `${begun.node} does not answer, so nothing there can be stopped; if it will not come back: troupe cluster declare-dead ${begun.node}`,
      )
    }
    await clock.sleep(lookMs, { signal })
  }
}

function noLongerDrained({ member }: NodeView): TroupeError<"ERR_CONFLICT"> {
  const reason = `${member.name} is not drained any more: somebody said otherwise meanwhile`
  return new TroupeError("ERR_CONFLICT", reason, { reason })
}

export async function declareDead(
  session: Session,
  node: string,
  options: Options & { readonly reason: string; readonly force?: boolean },
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const { reason, force = false } = options
  const value = await client.declareDead(node, { reason, force })
  const text = (): string =>
    `${value.node} counts as dead until it answers; ${countText(value.attempts)} given up there`
  await printOne(session.terminal, format, { kind: "NodeDeclaredDead", value, text })
  session.terminal.tell("to take it out of the cluster for good: troupe cluster remove")
  return exitCodes.ok
}

function warn({ terminal }: Session, { warnings }: NodeCordoned): void {
  for (const warning of warnings) {
    terminal.tell(`${terminal.paintError("yellow", "warning:")} ${warning}`)
  }
}

function countText(count: number): string {
  return count === 1 ? "1 attempt" : `${count} attempts`
}

function heldText({ attempts }: { readonly attempts: number }): string {
  return `${countText(attempts)} still ${attempts === 1 ? "runs" : "run"}`
}

function namesText(holds: readonly string[]): string {
  const more = holds.length > namesMax ? ", …" : ""
  return `${holds.slice(0, namesMax).join(", ")}${more}`
}
