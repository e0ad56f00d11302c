/** Nodes, wires and storage threads of an interaction transcript, moved one explicit step at a time. */
import {
  appendThread,
  applyThread,
  type ConfState,
  createMemoryStorage,
  decodeConfChange,
  emptyConfState,
  type Entry,
  type HardState,
  type Id,
  type MemoryStorage,
  type Message,
  type MessageType,
  type Raft,
  type RaftConfig,
  type RaftStorage,
  type Snapshot,
} from "../../src/consensus/index.ts"
import { Core } from "../../src/consensus/core.ts"
import { raftOf } from "../../src/consensus/raft.ts"
import { describeMessage, describeReady } from "./describe.ts"
import type { Output } from "./output.ts"

export interface ReplayNode {
  readonly id: Id
  readonly core: Core
  readonly raft: Raft
  readonly storage: MemoryStorage
  readonly config: RaftConfig
  /** The transcript asks for lease reads, which our core does not have. */
  readonly leaseReads: boolean
  /** State of an appending state machine after each applied entry. */
  readonly history: Snapshot[]
  appendWork: Message[]
  applyWork: Message[]
}

export interface NodeOptions {
  readonly config: Omit<RaftConfig, "id">
  readonly snapshot: Snapshot | undefined
  readonly leaseReads: boolean
}

const roundsMax = 10_000
const threads: ReadonlySet<Id> = new Set([appendThread, applyThread])
const responses: ReadonlySet<MessageType> = new Set([
  "MsgAppResp",
  "MsgVoteResp",
  "MsgHeartbeatResp",
  "MsgUnreachable",
  "MsgReadIndexResp",
  "MsgPreVoteResp",
])

export class Cluster {
  readonly nodes: ReplayNode[] = []
  readonly output: Output
  #wires: Message[] = []

  constructor(output: Output) {
    this.output = output
  }

  node(id: Id): ReplayNode {
    const node = this.nodes[id - 1]
    if (!node) throw new Error(`there is no node ${id}`)
    return node
  }

  addNodes(count: number, options: NodeOptions): string | undefined {
    for (let added = 0; added < count; added++) {
      const { snapshot, leaseReads } = options
      const index = snapshot?.meta.index ?? 0
      if (snapshot && index <= 1) return "index must be specified as > 1 due to bootstrap"
      const storage = createMemoryStorage()
      if (snapshot) storage.applySnapshot(snapshot)
      const history: Snapshot[] = [snapshot ?? emptySnapshot]
      // A leader that needs a snapshot gets the newest state.
      const view: RaftStorage = { ...storage, snapshot: () => history.at(-1)! }
      const id = this.nodes.length + 1
      const config = { ...options.config, id, trace: this.output.trace }
      const core = new Core(config, view)
      const raft = raftOf(core)
      this.nodes.push({
        id,
        core,
        raft,
        storage,
        config,
        leaseReads,
        history,
        appendWork: [],
        applyWork: [],
      })
    }
    return undefined
  }

  processReady(node: ReplayNode): void {
    const ready = node.raft.ready()
    this.output.write(describeReady(ready))
    if (!node.config.asyncStorageWrites) {
      write(node, ready)
      applyEntries(node, ready.committedEntries)
      this.#wires.push(...ready.messages)
      node.raft.advance()
      return
    }
    for (const message of ready.messages) {
      if (message.to === appendThread) node.appendWork.push(message)
      else if (message.to === applyThread) node.applyWork.push(message)
      else this.#wires.push(message)
    }
  }

  processAppend(node: ReplayNode): void {
    const message = node.appendWork.shift()
    if (!message) {
      this.output.write("no append work to perform")
      return
    }
    const { term = 0, vote = 0, commit = 0, entries = [], snapshot } = message
    const hasHardState = term > 0 || vote > 0 || commit > 0
    this.#startWork(message)
    write(node, { hardState: hasHardState ? { term, vote, commit } : undefined, entries, snapshot })
    this.#finishWork(message)
  }

  processApply(node: ReplayNode): void {
    const message = node.applyWork.shift()
    if (!message) {
      this.output.write("no apply work to perform")
      return
    }
    this.#startWork(message)
    applyEntries(node, message.entries ?? [])
    this.#finishWork(message)
  }

  #startWork(message: Message): void {
    const { responses: _, ...work } = message
    this.output.write(`Processing:\n${describeMessage(work)}\n`)
  }

  #finishWork({ responses: answers = [] }: Message): void {
    const lines = answers.map((answer) => `${describeMessage(answer)}\n`)
    this.output.write(`Responses:\n${lines.join("")}`)
    this.#wires.push(...answers)
  }

  /** Messages that wait for a node. Local ones cannot be dropped. */
  #take(to: Id, options: { type: string | undefined; drop: boolean }): Message[] {
    const isTaken = (message: Message): boolean =>
      message.to === to &&
      !(options.drop && (message.from === message.to || threads.has(message.from))) &&
      (options.type === undefined || message.type === options.type)
    const taken = this.#wires.filter(isTaken)
    this.#wires = this.#wires.filter((message) => !isTaken(message))
    return taken
  }

  /** How many messages there were. */
  deliver(to: Id, options: { type: string | undefined; drop: boolean }): number {
    const messages = this.#take(to, options)
    for (const message of messages) {
      this.output.write(`${options.drop ? "dropped: " : ""}${describeMessage(message)}\n`)
      if (!options.drop) this.#step(this.node(to), message)
    }
    return messages.length
  }

  #step(node: ReplayNode, message: Message): void {
    const { from, type } = message
    const isKnown = node.core.progressOf(from) !== undefined
    if (responses.has(type) && !threads.has(from) && !isKnown) {
      this.output.write("raft: cannot step as peer not found\n")
      return
    }
    if (node.raft.step(message) === "dropped") this.output.write("raft proposal dropped\n")
  }

  /** Moves these nodes until nothing is left to do. */
  stabilize(nodes: readonly ReplayNode[]): void {
    const headed = (node: ReplayNode, what: string, act: () => void): void => {
      this.output.write(`> ${node.id} ${what}\n`)
      this.output.indented(act)
    }
    let isDone = false
    for (let round = 0; !isDone; round++) {
      if (round > roundsMax) throw new Error("the cluster does not stabilize")
      isDone = true
      for (const node of nodes.filter(({ raft }) => raft.hasReady())) {
        headed(node, "handling Ready", () => this.processReady(node))
        isDone = false
      }
      for (const node of nodes) {
        if (!this.#wires.some(({ to }) => to === node.id)) continue
        headed(node, "receiving messages", () => {
          this.deliver(node.id, { type: undefined, drop: false })
        })
        isDone = false
      }
      for (const node of nodes.filter(({ appendWork }) => appendWork.length > 0)) {
        headed(node, "processing append thread", () => {
          while (node.appendWork.length > 0) this.processAppend(node)
        })
        isDone = false
      }
      for (const node of nodes.filter(({ applyWork }) => applyWork.length > 0)) {
        headed(node, "processing apply thread", () => {
          while (node.applyWork.length > 0) this.processApply(node)
        })
        isDone = false
      }
    }
  }

  /** Puts a snapshot of `from` on the wire. */
  sendSnapshot(from: ReplayNode, to: Id): void {
    const snapshot = from.history.at(-1)!
    const message: Message = {
      type: "MsgSnap",
      from: from.id,
      to,
      term: from.raft.status().term,
      snapshot,
      epoch: from.core.progressOf(to)?.epoch ?? 0,
    }
    this.#wires.push(message)
    this.output.write(`${describeMessage(message)}\n`)
  }
}

const emptySnapshot: Snapshot = {
  meta: { index: 0, term: 0, confState: emptyConfState },
  data: new Uint8Array(0),
}

function write(
  node: ReplayNode,
  work: {
    hardState: HardState | undefined
    entries: readonly Entry[]
    snapshot: Snapshot | undefined
  },
): void {
  if (work.hardState) node.storage.setHardState(work.hardState)
  if (!work.snapshot) {
    node.storage.append(work.entries)
    return
  }
  if (work.entries.length > 0) throw new Error("a snapshot and entries in one write")
  node.storage.applySnapshot(work.snapshot)
}

/** Every entry's bytes (a change's context) are appended to the state. */
function applyEntries(node: ReplayNode, entries: readonly Entry[]): void {
  for (const entry of entries) {
    const last = node.history.at(-1)!
    let update = entry.data
    let confState: ConfState = last.meta.confState
    if (entry.type !== "EntryNormal") {
      const change = decodeConfChange(entry.data)
      update = change.context
      confState = node.raft.applyConfChange(change)
    }
    node.history.push({
      meta: { index: entry.index, term: entry.term, confState },
      data: new Uint8Array([...last.data, ...update]),
    })
  }
}
