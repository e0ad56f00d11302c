/** `troupe cluster list|health|status`. */

import type { ClusterStatus, HealthView, NodeHealth, NodeView } from "../../schema/index.ts"
import { formatBytes, formatDuration } from "../duration.ts"
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { printList, printOne } from "../output.ts"
import { formatOf, type Session } from "../session.ts"
import type { Column } from "../table.ts"
import type { Colour, Paint } from "../terminal.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

export async function list(session: Session, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const items = await client.nodes()
  await printList(session.terminal, format, {
    kind: "Node",
    items,
    columns: nodeColumns(session.terminal.paint),
    empty: "no nodes",
  })
  return exitCodes.ok
}

export async function health(session: Session, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.health()
  const text = () => healthText(value, session.terminal.paint)
  await printOne(session.terminal, format, {
    kind: "Health",
    value,
    text,
  })
  if (value.status === "no-leader" || value.status === "joining") return exitCodes.noLeader
  return value.problems.length > 0 ? exitCodes.lost : exitCodes.ok
}

export async function status(session: Session, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.status()
  await printOne(session.terminal, format, {
    kind: "ClusterStatus",
    value,
    text: () => statusText(value),
  })
  return exitCodes.ok
}

function nodeColumns(paint: Paint): readonly Column<NodeView>[] {
  return [
    { title: "NAME", value: ({ member, self }) => (self ? `${member.name} (this)` : member.name) },
    { title: "ROLE", value: ({ member, leader }) => (leader ? "leader" : member.role) },
    {
      title: "STATE",
      value: stateText,
      style: (text, { state, member }) =>
        paint(state === "silent" ? "red" : isOpen(member) ? "green" : "yellow", text),
    },
    { title: "OS/ARCH", value: ({ member }) => `${member.os}/${member.arch}` },
    { title: "CORES", value: ({ member }) => member.cores, align: "right" },
    { title: "MEMORY", value: ({ member }) => formatBytes(member.memoryBytes), align: "right" },
    { title: "LOAD", value: ({ facts }) => facts?.load1.toFixed(1), align: "right" },
    {
      title: "JOBS",
      value: ({ facts }) => (facts ? `${facts.running}/${facts.capacity}` : undefined),
      align: "right",
    },
    { title: "VERSION", value: ({ facts }) => facts?.version },
    { title: "ADDRESS", value: ({ member }) => member.addresses[0] },
    {
      title: "LABELS",
      value: ({ member }) =>
        Object.entries(member.labels)
          // Those are what nodes tell each other.
          .filter(([key]) => !key.startsWith("troupe."))
          .map(([key, value]) => `${key}=${value}`)
          .join(","),
    },
  ]
}

/** `connected, draining (2 left)`. */
function stateText({ state, silentMs, member, facts, attempts }: NodeView): string {
  const { cordon, dead } = member
  const left = attempts === undefined || attempts === 0 ? "" : ` (${attempts} left)`
  const words = [
    state === "silent" ? silentText(silentMs) : state,
    dead !== undefined && "declared dead",
    cordon?.mode === "cordon" && "cordoned",
    cordon?.mode === "drain" && (attempts === 0 ? "drained" : `draining${left}`),
    facts?.full !== undefined && "disk full",
  ]
  return words.filter(Boolean).join(", ")
}

function isOpen({ cordon, dead }: NodeView["member"]): boolean {
  return cordon === undefined && dead === undefined
}

/** The first line answers the question: how many losses does the cluster survive right now? */
function healthText(view: HealthView, paint: Paint): string {
  const colours: Record<HealthView["status"], Colour> = {
    ok: "green",
    degraded: "yellow",
    "no-leader": "red",
    joining: "yellow",
  }
  const losses = view.survives === 1 ? "1 loss" : `${view.survives} losses`
  const { total, answering, needed } = view.voters
  const leader =
    view.leader === undefined ? "no leader" : `leader ${view.leader} (term ${view.term})`
  const own = [
    view.fsyncP99Ms !== undefined && `fsync p99 ${view.fsyncP99Ms.toFixed(1)} ms`,
    view.loopDelayP99Ms !== undefined && `loop delay p99 ${view.loopDelayP99Ms.toFixed(1)} ms`,
    electionText(view.electionTimeoutMs, view.electionReason),
  ]
  return [
    `${paint(colours[view.status], view.status)}: survives ${losses}`,
    `  cluster   ${view.cluster}, ${leader}`,
    // Who is in no cluster knows of no voters.
    ...(total > 0 ? [`  voters    ${answering} of ${total} answer, ${needed} must`] : []),
    ...(total > 0 ? [`  accepted  ${copiesText(view.copies)}`] : []),
    `  seen by   ${view.node}: ${own.filter(Boolean).join(", ")}`,
    ...view.nodes.map((node) => `  ${nodeText(node)}`),
    ...view.problems.map((problem) => `  ${paint("red", "!")} ${problem}`),
    ...view.notes.map((note) => `  - ${note}`),
  ].join("\n")
}

function nodeText(node: NodeHealth): string {
  const { role, behind, clockOffsetMs, diskFreeBytes, vitals } = node
  const known: readonly (string | undefined | false)[] = [
    node.leader ? "leader" : role,
    node.state === "silent" && silentText(node.silentMs),
    node.dead && "declared dead",
    node.cordon && (node.cordon.mode === "drain" ? "draining" : "cordoned"),
    behind !== undefined && behind > 0 && `${behind} behind`,
    node.version,
    diskFreeBytes !== undefined && `${formatBytes(diskFreeBytes)} free`,
    clockOffsetMs !== undefined && `clock ${signed(clockOffsetMs)} ms`,
    node.roundTripP99Ms !== undefined && `round trip ${node.roundTripP99Ms.toFixed(1)} ms`,
    vitals?.loopDelayP99Ms !== undefined && `loop ${vitals.loopDelayP99Ms.toFixed(1)} ms`,
    vitals?.fsyncP99Ms !== undefined &&
      role === "voter" &&
      `fsync ${vitals.fsyncP99Ms.toFixed(1)} ms`,
    vitals && role === "voter" && electionText(vitals.electionMs, vitals.electionReason),
  ]
  return `${node.name.padEnd(9)} ${known.filter(Boolean).join(", ")}`
}

/** `election 1.4 s (10 × p99 loop delay 140 ms)`. */
function electionText(ms: number, reason: string): string {
  const length = ms < 1000 ? `${ms} ms` : `${Number((ms / 1000).toFixed(2))} s`
  return `election ${length}${reason === "" ? "" : ` (${reason})`}`
}

/** Without a number nobody has heard it yet, or not since the node that says so has started. */
function silentText(silentMs: number | undefined): string {
  return silentMs === undefined ? "silent" : `silent ${formatDuration(silentMs)}`
}

function copiesText(copies: number | undefined): string {
  if (copies === undefined) return "work: its copies are not known without a leader"
  return `work has ${copies === 1 ? "1 copy" : `${copies} copies`}`
}

function signed(value: number): string {
  return value < 0 ? String(value) : `+${value}`
}

function names(members: readonly string[]): string {
  return members.length === 0 ? "none" : members.join(" ")
}

function statusText(view: ClusterStatus): string {
  return [
    `cluster   ${view.cluster} (${view.clusterId})${view.pristine ? ", has accepted nothing yet" : ""}`,
    `leader    ${view.leader ?? "none"} (term ${view.term})`,
    `node      ${view.node}: ${view.role}, ${view.raftState}, member ${view.memberId}`,
    `voters    ${names(view.voters)}`,
    `standbys  ${names(view.standbys)}`,
    `log       commit ${view.commit}, applied ${view.applied}`,
    `nodes     ${view.nodes.length}`,
  ].join("\n")
}
