/** Replays interaction transcripts: each command acts on a whole cluster and prints what happened. */
import {
  type ConfChange,
  emptyConfState,
  encodeConfChange,
  type RaftConfig,
  type Snapshot,
} from "../../src/consensus/index.ts"
import { voterIds } from "../../src/consensus/membership.ts"
import { Cluster, type NodeOptions, type ReplayNode } from "./cluster.ts"
import { parseChanges } from "./conf-change.ts"
import { type Directive, isSet, valuesOf } from "./datadriven.ts"
import { describeEntries } from "./describe.ts"
import { noLevel, Output } from "./output.ts"

/** The text of an error, if any. */
type Command = (cluster: Cluster, directive: Directive) => string | undefined | void

/** One transcript's cluster. */
export function createInteractionReplay(): (directive: Directive) => string {
  const output = new Output()
  const cluster = new Cluster(output)
  return (directive) => {
    const command = commands[directive.command]
    if (!command) return "unknown command"
    const error = command(cluster, directive)
    const text = output.take()
    if (error !== undefined) return text + error
    return text === "" ? "ok" : text
  }
}

function plainArgs(directive: Directive): string[] {
  return directive.args.filter((arg) => arg.values.length === 0).map((arg) => arg.key)
}

function nodesOf(cluster: Cluster, directive: Directive): ReplayNode[] {
  return plainArgs(directive).map((id) => cluster.node(Number(id)))
}

function firstNode(cluster: Cluster, directive: Directive): ReplayNode {
  return cluster.node(Number(plainArgs(directive)[0]))
}

/** With several nodes each one's output stands below a heading. */
function onEach(what: string, act: (cluster: Cluster, node: ReplayNode) => void): Command {
  return (cluster, directive) => {
    const nodes = nodesOf(cluster, directive)
    for (const node of nodes) {
      if (nodes.length === 1) {
        act(cluster, node)
        continue
      }
      cluster.output.write(`> ${node.id} ${what}\n`)
      cluster.output.indented(() => act(cluster, node))
    }
  }
}

function tick(node: ReplayNode, count: number): void {
  for (let ticked = 0; ticked < count; ticked++) node.raft.tick()
}

function proposed(result: "ok" | "dropped"): string | undefined {
  return result === "ok" ? undefined : "raft proposal dropped"
}

const readOptions: readonly string[] = ["safe", "lease-based"]

const defaults: Omit<RaftConfig, "id"> = {
  electionTicks: 3,
  heartbeatTicks: 1,
  applied: 0,
  asyncStorageWrites: false,
  maxSizePerMsg: Infinity,
  maxCommittedSizePerReady: Infinity,
  maxUncommittedEntriesSize: Infinity,
  maxInflightMsgs: 2 ** 31 - 1,
  maxInflightBytes: Infinity,
  checkQuorum: false,
  preVote: false,
  stepDownOnRemoval: false,
  disableConfChangeValidation: false,
  forwardProposals: true,
  silentRefusals: true,
  random: () => 0.5,
}

function nodeOptions(directive: Directive): NodeOptions {
  const first = (key: string): string | undefined => valuesOf(directive, key).at(-1)
  const flag = (key: string): boolean => isSet(directive, key)
  const number = (key: string, otherwise: number): number =>
    first(key) === undefined ? otherwise : Number(first(key))
  const ids = (key: string): number[] =>
    valuesOf(directive, key)
      .flatMap((value) => value.split(/\s+/))
      .map(Number)
  const index = number("index", 0)
  const config = {
    ...defaults,
    applied: index,
    maxInflightMsgs: number("inflight", defaults.maxInflightMsgs),
    maxCommittedSizePerReady: number(
      "max-committed-size-per-ready",
      defaults.maxCommittedSizePerReady,
    ),
    asyncStorageWrites: flag("async-storage-writes"),
    preVote: flag("prevote"),
    checkQuorum: flag("checkquorum"),
    disableConfChangeValidation: flag("disable-conf-change-validation"),
    stepDownOnRemoval: flag("step-down-on-removal"),
  }
  const voters = ids("voters")
  const learners = ids("learners")
  const data = new TextEncoder().encode(first("content") ?? "")
  const isBootstrapped = voters.length + learners.length + index + data.length > 0
  const snapshot: Snapshot = {
    meta: { index, term: 1, confState: { ...emptyConfState, voters, learners } },
    data,
  }
  return {
    config,
    snapshot: isBootstrapped ? snapshot : undefined,
    leaseReads: first("read-only") === "lease-based",
  }
}

const transitions: readonly string[] = ["auto", "implicit", "explicit"]

function isTransition(name: string): name is ConfChange["transition"] {
  return transitions.includes(name)
}

function proposeConfChange(cluster: Cluster, directive: Directive): string | undefined {
  const { raft, id } = firstNode(cluster, directive)
  const named = directive.args.filter(({ values }) => values.length > 0)
  const unknown = named.find(({ key }) => key !== "v1" && key !== "transition")
  if (unknown) return `unknown command ${unknown.key}`
  const transition = valuesOf(directive, "transition").at(-1) ?? "auto"
  if (!isTransition(transition)) return `unknown transition ${transition}`
  const changes = parseChanges(directive.input)
  if (typeof changes === "string") return changes
  const isV1 = isSet(directive, "v1")
  if (isV1 && (changes.length > 1 || transition !== "auto")) {
    return "v1 conf change can only have one operation and no transition"
  }
  // Transcripts with size limits count a change's bytes as protobuf has them; ours are fewer.
  const context = new Uint8Array(isV1 ? 0 : Math.max(0, 4 * changes.length - 1))
  const data = encodeConfChange({ transition, changes, context })
  const type = isV1 ? "EntryConfChange" : "EntryConfChangeV2"
  const entries = [{ term: 0, index: 0, type, data }] as const
  return proposed(raft.step({ type: "MsgProp", from: id, to: id, entries }))
}

function deliver(cluster: Cluster, directive: Directive): void {
  const type = valuesOf(directive, "type")[0]
  let count = 0
  for (const { key, values } of directive.args) {
    const drop = key === "drop"
    const ids = drop ? values : values.length === 0 ? [key] : []
    for (const id of ids) count += cluster.deliver(Number(id), { type, drop })
  }
  if (count === 0) cluster.output.write("no messages\n")
}

function stabilize(cluster: Cluster, directive: Directive): string | undefined {
  const nodes = nodesOf(cluster, directive)
  const { output } = cluster
  const { level } = output
  const wanted = valuesOf(directive, "log-level")[0]
  if (wanted !== undefined && !output.setLevel(wanted)) return noLevel
  cluster.stabilize(nodes.length > 0 ? nodes : cluster.nodes)
  output.setLevel(level)
  return undefined
}

function showState(cluster: Cluster): void {
  for (const { id, core, raft } of cluster.nodes) {
    const { raftState, term, lead } = raft.status()
    const isVoter = voterIds(core.membership.config).includes(id)
    cluster.output.write(
      `${id}: ${raftState} ${isVoter ? "(Voter)" : "(Non-Voter)"} Term:${term} Lead:${lead}\n`,
    )
  }
}

function showLog(cluster: Cluster, directive: Directive): void {
  const { storage } = firstNode(cluster, directive)
  const first = storage.firstIndex()
  const last = storage.lastIndex()
  if (last < first) {
    cluster.output.write(`log is empty: first index=${first}, last index=${last}`)
    return
  }
  const entries = storage.entries(first, last + 1, Infinity)
  if (typeof entries === "string") throw new Error(`the log is ${entries}`)
  cluster.output.write(describeEntries(entries))
}

function forgetLeader({ output }: Cluster, node: ReplayNode): void {
  // Safe reads are all we have, so what a lease would forbid is shown here.
  if (node.leaseReads) output.trace("ERROR", "ignoring MsgForgetLeader due to ReadOnlyLeaseBased")
  else node.raft.forgetLeader()
}

const commands: Readonly<Record<string, Command>> = {
  _breakpoint: () => undefined,
  "add-nodes"(cluster, directive) {
    const reads = valuesOf(directive, "read-only").find((value) => !readOptions.includes(value))
    if (reads !== undefined) return `invalid read-only option "${reads}"`
    return cluster.addNodes(Number(plainArgs(directive)[0]), nodeOptions(directive))
  },
  campaign: (cluster, directive) => firstNode(cluster, directive).raft.campaign(),
  compact(cluster, directive) {
    const { storage } = firstNode(cluster, directive)
    const index = Number(plainArgs(directive)[1])
    if (index < storage.firstIndex()) return "requested index is unavailable due to compaction"
    storage.compact({ index })
    showLog(cluster, directive)
    return undefined
  },
  "deliver-msgs": deliver,
  "process-ready": onEach("handling Ready", (cluster, node) => cluster.processReady(node)),
  "process-append-thread": onEach("processing append thread", (cluster, node) =>
    cluster.processAppend(node),
  ),
  "process-apply-thread": onEach("processing apply thread", (cluster, node) =>
    cluster.processApply(node),
  ),
  "log-level"(cluster, directive) {
    const level = plainArgs(directive)[0] ?? ""
    return cluster.output.setLevel(level) ? undefined : noLevel
  },
  "raft-log": showLog,
  "raft-state": showState,
  "set-randomized-election-timeout"(cluster, directive) {
    const ticks = Number(valuesOf(directive, "timeout")[0])
    firstNode(cluster, directive).core.randomizedElectionTicks = ticks
  },
  stabilize,
  status(cluster, directive) {
    const { core } = firstNode(cluster, directive)
    if (!core.isLeader) return
    for (const [id, member] of core.membership.progress) {
      cluster.output.write(`${id}: ${member.describe()}\n`)
    }
  },
  "tick-election"(cluster, directive) {
    const node = firstNode(cluster, directive)
    tick(node, node.config.electionTicks)
  },
  "tick-heartbeat"(cluster, directive) {
    const node = firstNode(cluster, directive)
    tick(node, node.config.heartbeatTicks)
  },
  "transfer-leadership"(cluster, directive) {
    const [from] = valuesOf(directive, "from")
    const [to] = valuesOf(directive, "to")
    cluster.node(Number(from)).raft.transferLeadership(Number(to))
  },
  "forget-leader": (cluster, directive) => forgetLeader(cluster, firstNode(cluster, directive)),
  "send-snapshot"(cluster, directive) {
    const [from, to] = plainArgs(directive).map(Number)
    cluster.sendSnapshot(cluster.node(from!), to!)
  },
  propose(cluster, directive) {
    const { raft, id } = firstNode(cluster, directive)
    const data = new TextEncoder().encode(plainArgs(directive)[1] ?? "")
    const entries = [{ term: 0, index: 0, type: "EntryNormal", data }] as const
    return proposed(raft.step({ type: "MsgProp", from: id, to: id, entries }))
  },
  "propose-conf-change": proposeConfChange,
  "report-unreachable"(cluster, directive) {
    const [from, about, ...more] = plainArgs(directive).map(Number)
    if (from === undefined || about === undefined || more.length > 0) {
      return "must specify exactly two node indexes: node on which to report, and reported node"
    }
    cluster.node(from).raft.reportUnreachable(about)
    return undefined
  },
}
