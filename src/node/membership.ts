/** Which cluster this node belongs to: seeks, forms, joins, dissolves, and opens the replica when it has one. */
import { CodecError } from "../lib/index.ts"
import {
  type Identity,
  type Member,
  type MemberDeclaration,
  type PeerRef,
  TroupeError,
} from "../schema/index.ts"
import { readCluster, readMembers } from "../state/index.ts"
import { decodeFrame, type Hello, type JoinAnswer, joinAnswer, joinRequest } from "../wire/index.ts"
import type { ByteStream, Parts } from "./parts.ts"
import { Replica } from "./replica.ts"
import type { ReplicaEvents } from "./replica-options.ts"
import { serveSnapshot } from "./snapshots.ts"
import type { NodeOptions } from "./options.ts"

export interface MembershipHooks extends ReplicaEvents {
  declaration(): MemberDeclaration
  /** The leader as this node knows it. */
  leaderPeer(): PeerRef | undefined
  /** Asks the leader to admit a node, and to weigh a meeting with another cluster. */
  admit(declaration: MemberDeclaration): Promise<Admission>
  meet(hello: Hello, peer: PeerRef): Promise<void>
  declare(declaration: MemberDeclaration): Promise<void>
}

export type Admission = Extract<JoinAnswer, { type: "admitted" }>

interface StoredRoster {
  /** Of the log. */
  readonly index: number
  readonly members: readonly Member[]
}

const joinGiveUpMs = 60_000
const joinRetryMs = 300
const seekersMax = 1024
const redirectsMax = 64
const conflictsMax = 64

export class Membership {
  readonly #options: NodeOptions
  readonly #parts: Parts
  readonly #hooks: MembershipHooks
  readonly #stopping = new AbortController()
  /** Peers without a cluster that were heard: the lowest id founds. */
  readonly #seekers = new Set<string>()
  readonly #conflicts = new Map<string, string>()
  #identity: Identity | undefined
  #redirects: Identity["redirects"] = []
  #replica: Replica | undefined
  #opening: Promise<void> | undefined
  #roster: readonly Member[] = []
  #rosterIndex = -1
  #joining = false
  #refreshing = false
  /** Between the decision to found and the open replica: nothing else may decide who we are. */
  #founding = false
  #forming: { cancel(): void } | undefined
  #greeting: { cancel(): void } | undefined

  constructor(options: NodeOptions, parts: Parts, hooks: MembershipHooks) {
    this.#options = options
    this.#parts = parts
    this.#hooks = hooks
  }

  get identity(): Identity | undefined {
    return this.#identity
  }

  get replica(): Replica | undefined {
    return this.#replica
  }

  get joining(): boolean {
    return this.#joining
  }

  /** Other used clusters of the same name: clusterId → a node of it. They never merge by themselves. */
  get conflicts(): ReadonlyMap<string, string> {
    return this.#conflicts
  }

  get rosterIndex(): number {
    return this.#rosterIndex
  }

  /** From the tables, or from a roster that is newer than they are. */
  members(): readonly Member[] {
    const replica = this.#replica
    const isOlder = !replica || this.#rosterIndex > replica.applied.index
    const members = isOlder ? [] : readMembers(replica.tables)
    return members.length > 0 ? members : this.#roster
  }

  /** Before discovery begins: takes up what the data directory remembers. */
  async open(stored: Identity | undefined): Promise<void> {
    this.#redirects = stored?.redirects ?? []
    const { local, identity } = this.#parts
    const replicaOf = (await local.get("replica")) as string | undefined
    if (!stored || stored.memberId === 0) {
      // A crash came between leaving a cluster and putting its log away.
      if (replicaOf !== undefined) await identity.archive(replicaOf)
      await local.delete("replica")
      return
    }
    if (stored.cluster !== this.#options.cluster) {
      throw new TroupeError(
        "ERR_CONFIG_INVALID",
        `this data directory belongs to cluster '${stored.cluster}', not '${this.#options.cluster}': ` +
          `start with --cluster ${stored.cluster}, or with another --data directory`,
        {
          issues: [
            { path: "cluster", message: `the data directory belongs to '${stored.cluster}'` },
          ],
        },
      )
    }
    const roster = (await local.get("roster")) as StoredRoster | undefined
    const isFounding = (await local.get("founding")) === stored.clusterId
    // From here on frames may open the replica too: identity and opening are set in one turn.
    this.#identity = stored
    this.#roster = roster?.members ?? []
    this.#rosterIndex = roster?.index ?? -1
    if (isFounding || replicaOf === stored.clusterId) await this.#openReplica(isFounding)
  }

  start(): void {
    const { mesh, clock } = this.#parts
    const { timing } = this.#options
    mesh.on("discovered", (peer) => void this.#approach(peer))
    mesh.on("connected", ({ peerId }) => void this.#greet({ peerId, addresses: [] }))
    this.#greeting = clock.every(timing.helloMs, () => this.#round())
    if (!this.#identity) this.#seek()
    else for (const member of this.#roster) void this.#approach(member)
    // It dissolved and this node died before it left.
    const row = this.#replica && readCluster(this.#replica.tables)
    if (row?.dissolvedInto) this.dissolved(row.dissolvedInto, row.dissolvedPeers ?? [], false)
  }

  async stop(): Promise<void> {
    this.#stopping.abort(
      new TroupeError("ERR_STOPPED", "this node is stopping", { what: "membership" }),
    )
    this.#forming?.cancel()
    this.#greeting?.cancel()
    await this.#opening?.catch(() => undefined) // Told where it was opened.
    await this.#replica?.stop()
  }

  /** The roster as of an index of the log, from a leader; what is older than the one here is not taken. */
  async learnRoster(members: readonly Member[], index: number): Promise<void> {
    if (index > this.#rosterIndex) await this.#keepRoster({ index, members })
  }

  async #keepRoster(roster: StoredRoster): Promise<void> {
    this.#roster = roster.members
    this.#rosterIndex = roster.index
    await this.#parts.local.put("roster", roster)
  }

  /** Called with every lease: a replica that the cluster goes on without is closed, and this node is a worker. Its data
   *  stay, so that it opens as it was when a leader writes to it again: nothing that it promised is forgotten. */
  async retireReplica(): Promise<void> {
    const replica = this.#replica
    if (!replica || this.#opening || replica.leader !== 0) return
    const members = this.members()
    if (members.find(({ id }) => id === replica.memberId)?.role !== "worker") return
    this.#parts.logger.info("no longer a replica", { memberId: replica.memberId })
    await this.learnRoster(members, replica.applied.index)
    this.#replica = undefined
    this.#opening = this.#closeReplica(replica).finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  async #closeReplica(replica: Replica): Promise<void> {
    await this.#parts.local.delete("replica")
    await replica.stop()
  }

  // ---------------------------------------------------------------- seeking and forming

  #seek(): void {
    const { timing, hasSeeds } = this.#options
    this.#formAfter(hasSeeds ? timing.formWithSeedsMs : timing.formMs)
  }

  #formAfter(ms: number): void {
    this.#forming?.cancel()
    this.#forming = this.#parts.clock.after(ms, () => {
      if (this.#identity || this.#joining || this.#founding) return
      // Somebody with a lower id seeks too and will found in a moment: one more turn saves a dissolution.
      const lower = [...this.#seekers].some((peerId) => peerId < this.#parts.mesh.peerId)
      if (lower && this.#seekers.size > 0) {
        this.#seekers.clear()
        this.#formAfter(ms)
      } else void this.#form()
    })
  }

  async #form(): Promise<void> {
    const { parts, options } = { parts: this.#parts, options: this.#options }
    const clusterId = Buffer.from(parts.random.bytes(16)).toString("hex")
    parts.logger.info("founding a cluster", { cluster: options.cluster, clusterId })
    this.#founding = true
    try {
      // Until the first entry is durable a restart has to found it again.
      await parts.local.put("founding", clusterId)
      await this.#become({ clusterId, memberId: 1 })
      await this.#openReplica(true)
      await parts.local.delete("founding")
    } catch (error) {
      if (!this.#stopping.signal.aborted) parts.fatal(74, error as Error)
    } finally {
      this.#founding = false
    }
  }

  async #become(who: { clusterId: string; memberId: number }): Promise<void> {
    const identity: Identity = {
      format: 1,
      peerId: this.#parts.mesh.peerId,
      cluster: this.#options.cluster,
      redirects: this.#redirects,
      ...who,
    }
    await this.#parts.identity.write(identity)
    this.#identity = identity
  }

  #openReplica(founding = false): Promise<void> {
    const identity = this.#identity!
    const open = async (): Promise<void> => {
      await this.#parts.local.put("replica", identity.clusterId)
      const founder = this.#hooks.declaration()
      const item = { cluster: identity.cluster, clusterId: identity.clusterId, founder }
      this.#replica = await Replica.open(
        {
          clusterId: identity.clusterId,
          memberId: identity.memberId,
          timing: this.#options.timing,
          ...(founding && { genesis: { type: "genesis", items: [item] } as const }),
          roster: (id) => this.#roster.find((member) => member.id === id),
          logLimits: this.#options.logLimits,
        },
        { ...this.#parts, ...this.#parts.stores() },
        this.#hooks,
      )
    }
    this.#opening = open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  // ---------------------------------------------------------------- meeting others

  #round(): void {
    if (this.#joining) return
    const known = new Set(this.members().map((member) => member.peerId))
    for (const peerId of this.#parts.mesh.connectedPeers()) {
      if (!this.#identity || !known.has(peerId)) void this.#greet({ peerId, addresses: [] })
    }
  }

  async #approach(peer: PeerRef): Promise<void> {
    if (peer.peerId === this.#parts.mesh.peerId) return
    const signal = this.#limit(this.#options.timing.requestMs, "connecting to a peer")
    try {
      await this.#parts.mesh.connect(peer, { signal })
    } catch (error) {
      this.#parts.logger.debug("a peer does not answer", {
        peer: peer.peerId,
        error: String(error),
      })
    }
  }

  async #greet(peer: PeerRef): Promise<void> {
    try {
      const payload = joinRequest.encode({ type: "hello", hello: this.#hello() })
      const signal = this.#limit(this.#options.timing.requestMs, "a hello")
      const answer = await this.#parts.mesh.request(peer, "/troupe/join/1", payload, { signal })
      const decoded = joinAnswer.decode(answer)
      if (decoded.type === "hello") this.#consider(peer, decoded.hello)
    } catch (error) {
      this.#parts.logger.debug("a hello was not answered", {
        peer: peer.peerId,
        error: String(error),
      })
    }
  }

  #hello(): Hello {
    const identity = this.#identity
    const replica = this.#replica
    const row = replica && readCluster(replica.tables)
    return {
      cluster: this.#options.cluster,
      clusterId: identity?.clusterId,
      memberId: identity?.memberId,
      pristine: row?.pristine ?? false,
      members: this.members().length,
      declaration: this.#hooks.declaration(),
      leaderPeer: this.#hooks.leaderPeer(),
      redirects: this.#redirects,
      // Only who holds the tables knows whether the cluster is pristine; absent means: ask the leader.
      startedAt: row?.time,
    }
  }

  /** Answers a hello or a wish to join. */
  async handle(from: string, payload: Uint8Array): Promise<Uint8Array> {
    const request = joinRequest.decode(payload)
    if (request.type === "hello") {
      queueMicrotask(() => this.#consider({ peerId: from, addresses: [] }, request.hello))
      return joinAnswer.encode({ type: "hello", hello: this.#hello() })
    }
    return joinAnswer.encode(await this.#answerJoin(from, request.declaration))
  }

  async #answerJoin(from: string, declaration: MemberDeclaration): Promise<JoinAnswer> {
    if (declaration.peerId !== from) return { type: "refused", reason: "declares another peer id" }
    if (!this.#identity) return { type: "refused", reason: "this node has no cluster yet" }
    try {
      return await this.#hooks.admit(declaration)
    } catch (error) {
      return { type: "refused", reason: error instanceof Error ? error.message : String(error) }
    }
  }

  #consider(peer: PeerRef, hello: Hello): void {
    if (hello.cluster !== this.#options.cluster || this.#joining || this.#founding) return
    const mine = this.#identity
    const other = hello.clusterId
    if (!mine) {
      if (other) void this.#join([peer, ...(hello.leaderPeer ? [hello.leaderPeer] : [])])
      else if (this.#seekers.size < seekersMax) this.#seekers.add(peer.peerId)
      return
    }
    const gone = hello.redirects.find(({ from }) => from === mine.clusterId)
    if (gone && this.members().some((member) => member.peerId === peer.peerId)) {
      void this.#leave(gone, [peer])
      return
    }
    if (other === mine.clusterId) void this.#refreshRoster(peer)
    if (!other || other === mine.clusterId) return
    if (hello.startedAt === undefined) {
      if (hello.leaderPeer) void this.#approach(hello.leaderPeer)
      return
    }
    this.#hooks.meet(hello, peer).catch((error: unknown) => {
      this.#parts.logger.debug("a meeting was not weighed", { error: String(error) })
    })
  }

  /** Leader only: what a meeting with another cluster of the same name leads to. */
  weigh(hello: Hello): "dissolve" | "stay" {
    const row = this.#replica && readCluster(this.#replica.tables)
    // This node may have come over to that very cluster since.
    if (!row || !hello.clusterId || hello.clusterId === row.clusterId) return "stay"
    if (row.pristine) {
      if (!hello.pristine || hello.clusterId < row.clusterId) return "dissolve"
      return "stay"
    }
    const isNew = !this.#conflicts.has(hello.clusterId) && this.#conflicts.size < conflictsMax
    if (!hello.pristine && isNew) {
      this.#conflicts.set(hello.clusterId, hello.declaration.name)
      this.#parts.logger.warn(
        "another cluster of the same name has accepted work; they never merge by themselves",
        {
          other: hello.clusterId,
          node: hello.declaration.name,
        },
      )
    }
    return "stay"
  }

  // ---------------------------------------------------------------- joining and leaving

  async #join(peers: readonly PeerRef[]): Promise<void> {
    if (this.#joining || this.#founding || this.#identity) return
    this.#joining = true
    this.#forming?.cancel()
    const signal = this.#limit(joinGiveUpMs, "joining")
    const queue = [...peers]
    let tried = 0
    try {
      for (;;) {
        signal.throwIfAborted()
        const peer = queue[tried++ % queue.length]!
        const answer = await this.#askToJoin(peer, signal)
        if (answer?.type === "admitted") {
          await this.#adopt(answer)
          return
        }
        if (answer?.type === "redirect") {
          const known = new Set(queue.map((one) => one.peerId))
          queue.push(...answer.peers.filter((one) => !known.has(one.peerId)))
        }
        if (tried % queue.length === 0) await this.#parts.clock.sleep(joinRetryMs, { signal })
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#parts.logger.warn("could not join; seeking again", { error: String(error) })
    } finally {
      this.#joining = false
      if (!this.#identity && !this.#stopping.signal.aborted) this.#seek()
    }
  }

  async #askToJoin(peer: PeerRef, signal: AbortSignal): Promise<JoinAnswer | undefined> {
    try {
      const limit = AbortSignal.any([
        signal,
        this.#parts.clock.timeoutSignal(this.#options.timing.requestMs, "a wish to join"),
      ])
      const payload = joinRequest.encode({ type: "join", declaration: this.#hooks.declaration() })
      const answer = joinAnswer.decode(
        await this.#parts.mesh.request(peer, "/troupe/join/1", payload, { signal: limit }),
      )
      if (answer.type === "refused") {
        this.#parts.logger.info("not admitted", { peer: peer.peerId, reason: answer.reason })
      }
      return answer
    } catch (error) {
      signal.throwIfAborted()
      this.#parts.logger.debug("a wish to join was not answered", { error: String(error) })
      return undefined
    }
  }

  /** Somebody of this cluster whom neither roster nor tables here name: they are old, perhaps older than the leader, whose
   *  orders and frames would be refused for ever. Members that it names are asked for a newer one, or, where none answers, the stranger. */
  async #refreshRoster(stranger: PeerRef): Promise<void> {
    const identity = this.#identity
    const known = this.members()
    const isKnown = known.some(({ peerId }) => peerId === stranger.peerId)
    if (!identity || isKnown || this.#refreshing) return
    this.#refreshing = true
    try {
      const signal = this.#limit(joinGiveUpMs, "asking for the roster")
      const connected = new Set(this.#parts.mesh.connectedPeers())
      for (const peer of [...known.filter(({ peerId }) => connected.has(peerId)), stranger]) {
        const answer = await this.#askToJoin(peer, signal)
        if (this.#identity !== identity) return
        const { clusterId, memberId } = identity
        if (answer?.type !== "admitted" || answer.clusterId !== clusterId) continue
        if (answer.memberId !== memberId) continue
        // As of the entry that admits us again: later than anything that this node has seen.
        const index = Math.max(this.#rosterIndex, this.#replica?.applied.index ?? 0) + 1
        await this.#keepRoster({ index, members: answer.members })
        return
      }
    } catch (error) {
      this.#parts.logger.debug("no newer roster", { error: String(error) })
    } finally {
      this.#refreshing = false
    }
  }

  async #adopt(admission: Admission): Promise<void> {
    // The admission says no index: the next roster of a leader is newer.
    await this.#keepRoster({ index: 0, members: admission.members })
    await this.#become({ clusterId: admission.clusterId, memberId: admission.memberId })
    this.#parts.logger.info("joined a cluster", {
      clusterId: admission.clusterId,
      memberId: admission.memberId,
    })
  }

  /** The cluster dissolved: archive what it was, remember where it went, join there. */
  async #leave(
    { from, into }: { from: string; into: string },
    peers: readonly PeerRef[],
  ): Promise<void> {
    const old = this.#identity
    // Word of it comes by several ways: only the first finds this node still there.
    if (old?.clusterId !== from || into === from || this.#joining) return
    // Who accepted work stays, whatever others say.
    if (this.#replica && readCluster(this.#replica.tables)?.pristine === false) return
    this.#joining = true
    try {
      this.#parts.logger.info("the cluster dissolved into another", { from, into })
      this.#identity = undefined
      this.#roster = []
      this.#rosterIndex = -1
      await this.#opening
      await this.#replica?.stop()
      this.#replica = undefined
      this.#redirects = [...this.#redirects, { from, into }].slice(-redirectsMax)
      await this.#become({ clusterId: "", memberId: 0 })
      this.#identity = undefined
      await this.#parts.identity.archive(from)
      await this.#parts.local.delete("replica")
    } finally {
      this.#joining = false
    }
    await this.#join(peers)
  }

  /** Called when Dissolve is applied here. The leader lingers so that the others hear the commit. */
  dissolved(into: string, peers: readonly PeerRef[], leading: boolean): void {
    const from = this.#identity?.clusterId
    if (from === undefined) return
    const heartbeats = 3 * this.#options.timing.tickMs * this.#options.timing.heartbeatTicks
    this.#parts.clock.after(leading ? heartbeats : 0, () => void this.#leave({ from, into }, peers))
  }

  // ---------------------------------------------------------------- frames

  handleFrame(from: string, frame: Uint8Array): void {
    try {
      if (this.#replica) this.#replica.handleFrame(from, frame)
      else void this.#openFor(frame)
    } catch (error) {
      if (!(error instanceof CodecError)) throw error
      this.#parts.logger.warn("a frame was not understood", { peer: from, error: error.message })
    }
  }

  /** A leader that writes to us has made us a replica: open one. What arrives meanwhile is sent again. */
  async #openFor(frame: Uint8Array): Promise<void> {
    const identity = this.#identity
    if (!identity || this.#opening || this.#replica) return
    const { clusterId, to } = decodeFrame(frame)
    if (clusterId !== identity.clusterId || to !== identity.memberId) return
    try {
      await this.#openReplica()
    } catch (error) {
      this.#parts.fatal(74, error as Error)
    }
  }

  async handleSnapshot(stream: ByteStream): Promise<void> {
    await serveSnapshot(stream, async (header, chunks) => {
      await this.#openFor(header)
      await this.#opening
      if (!this.#replica) throw new Error("no replica here")
      await this.#replica.handleSnapshot(header, chunks, stream.peerId)
    })
  }

  /** The own row differs from what this node is now (a new address, other labels): tell the leader. */
  async refreshDeclaration(): Promise<void> {
    const identity = this.#identity
    if (!identity) return
    const declaration = this.#hooks.declaration()
    const row = this.members().find((member) => member.id === identity.memberId)
    if (!row) return
    const { id: _id, role: _role, ...declared } = row
    if (sameData(declared, declaration)) return
    await this.#hooks.declare(declaration)
  }

  #limit(ms: number, what: string): AbortSignal {
    return AbortSignal.any([this.#stopping.signal, this.#parts.clock.timeoutSignal(ms, what)])
  }
}

function sameData(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]))
}
