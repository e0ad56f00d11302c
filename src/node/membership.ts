/** Which cluster this node belongs to: seeks, founds, joins, leaves, and opens the replica when it has one. */
import {
  type Identity,
  type Member,
  type MemberDeclaration,
  type PeerRef,
  type Redirect,
  TroupeError,
} from "../schema/index.ts"
import { type Hello, type JoinAnswer, joinAnswer, joinRequest } from "../wire/index.ts"
import { bootTag, type Outdated } from "./boots.ts"
import { Belonging } from "./belonging.ts"
import { isSameDeclaration } from "./facts.ts"
import { Greeting } from "./greeting.ts"
import { askToJoin, join, type JoiningParts } from "./joining.ts"
import { Meeting, type Verdict } from "./meeting.ts"
import type { NodeOptions } from "./options.ts"
import type { ByteStream, Parts } from "./parts.ts"
import { redirectsOf, wayTo } from "./redirects.ts"
import type { Replica } from "./replica.ts"
import type { ReplicaEvents } from "./replica-options.ts"
import { canRejoin, lossOf, onlyVoter } from "./rejoining.ts"
import { Seeking } from "./seeking.ts"

export interface MembershipHooks extends Omit<ReplicaEvents, "lost"> {
  declaration(): MemberDeclaration
  /** The leader as this node knows it. */
  leaderPeer(): PeerRef | undefined
  /** Asks the leader to admit a node, and to weigh a meeting with another cluster. */
  admit(declaration: MemberDeclaration): Promise<JoinAnswer>
  /** The same for a member that lost its log, under another id. */
  readmit(declaration: MemberDeclaration, instead: number): Promise<JoinAnswer>
  meet(hello: Hello, peer: PeerRef): Promise<void>
  declare(declaration: MemberDeclaration): Promise<void>
}

/** Where this node is going; kept on disk until it has arrived. */
interface Destination {
  readonly redirect: Redirect
  readonly peers: readonly PeerRef[]
  /** The member that this node was, when it goes back where it was: its log is lost. */
  readonly instead?: number
}

const joinGiveUpMs = 60_000
const travelRetryMs = 300
/** A stranger's word that our cluster was recovered is believed after so long without a leader. */
const strangerMs = 60_000

export class Membership {
  readonly #options: NodeOptions
  readonly #parts: Parts
  readonly #hooks: MembershipHooks
  readonly #stopping = new AbortController()
  readonly #own: Belonging
  readonly #meeting: Meeting
  readonly #seeking: Seeking
  readonly #greeting: Greeting
  readonly #joiningParts: JoiningParts
  #joining = false
  #destination: Destination | undefined
  #boot = ""
  #isStarted = false
  #refreshing = false
  /** Between the decision to found and the open replica: nothing else may decide who we are. */
  #founding = false
  /** Boot-time clock. */
  #foundedAt: number | undefined
  /** Why somebody removed this node; it stays without a cluster. */
  #removed: string | undefined

  constructor(options: NodeOptions, parts: Parts, hooks: MembershipHooks) {
    this.#options = options
    this.#parts = parts
    this.#hooks = hooks
    const lost = (reason: string): void => {
      this.#lose(reason).catch((error: unknown) => parts.fatal(74, error as Error))
    }
    this.#own = new Belonging(options, parts, {
      events: { ...hooks, lost },
      declaration: () => hooks.declaration(),
      boot: () => this.#boot,
    })
    this.#meeting = new Meeting(parts)
    this.#joiningParts = {
      parts,
      options,
      declaration: () => hooks.declaration(),
      instead: () => this.#destination?.instead,
    }
    this.#seeking = new Seeking({
      clock: parts.clock,
      options,
      self: parts.mesh.peerId,
      addresses: () => parts.mesh.addresses(),
      approach: (peer) => void this.#greeting.approach(peer),
      isFree: () => !this.#own.identity && !this.#isBusy(),
      isMeeting: () => this.#greeting.isMeeting,
      found: () => void this.#found(),
    })
    this.#greeting = new Greeting({
      options,
      parts,
      stopping: this.#stopping.signal,
      hello: () => this.#hello(),
      known: () => this.#own.identity && new Set(this.members().map(({ peerId }) => peerId)),
      hasLeader: () => hooks.leaderPeer() !== undefined,
      isQuiet: () => this.#joining || this.#removed !== undefined,
      heard: (peer, hello) => this.#consider(peer, hello),
      // Perhaps it was removed while nobody could tell it.
      leaderless: () => void this.#refreshRoster(undefined),
    })
  }

  get identity(): Identity | undefined {
    return this.#own.identity
  }

  get replica(): Replica | undefined {
    return this.#own.replica
  }

  get removed(): string | undefined {
    return this.#removed
  }

  /** It has lost its log and nobody has taken it back yet. */
  get isReturning(): boolean {
    return this.#destination?.instead !== undefined
  }

  /** Whom this node waits for before it founds, as far as it hears them. */
  get seekers(): readonly PeerRef[] {
    return this.#seeking.peers()
  }

  get conflicts(): ReadonlyMap<string, string> {
    return this.#meeting.conflicts(this.#own.row())
  }

  /** How long a cluster that this node has just founded should wait before it accepts work, ms: once it has, it never gives
   *  way to another that it has not met yet. */
  get settlingMs(): number {
    const { mdns, seeds } = this.#parts.mesh.discovery()
    const isAlone = this.#own.row()?.pristine === true && this.members().length === 1
    if (this.#foundedAt === undefined || !isAlone || (mdns === "off" && seeds.length === 0))
      return 0
    const { holdMs, formWithSeedsMs } = this.#options.timing
    const limit = this.#greeting.isMeeting ? Math.max(holdMs, formWithSeedsMs) : holdMs
    return Math.max(0, this.#foundedAt + limit - this.#parts.clock.boottime())
  }

  members(): readonly Member[] {
    return this.#own.members()
  }

  #isBusy(): boolean {
    return this.#joining || this.#founding || this.#removed !== undefined
  }

  /** Before the mesh starts. */
  listen(): void {
    this.#greeting.listen()
  }

  /** Before discovery begins: takes up what the data directory remembers. */
  async open(stored: Identity | undefined, boot: string): Promise<void> {
    this.#boot = boot
    this.#own.remember(stored)
    const { local, identity } = this.#parts
    const replicaOf = (await local.get("replica")) as string | undefined
    this.#removed = (await local.get("removed")) as string | undefined
    if (!stored || stored.memberId === 0) {
      this.#destination = (await local.get("destination")) as Destination | undefined
      const { instead: memberId } = this.#destination ?? {}
      // A crash came between leaving a cluster and putting its log away.
      if (replicaOf !== undefined) {
        if (memberId === undefined) await identity.archive(replicaOf)
        else await identity.quarantine({ clusterId: replicaOf, memberId })
      }
      await local.delete("replica")
      return
    }
    const isRecovered =
      replicaOf !== undefined &&
      wayTo(stored.redirects, replicaOf, stored.clusterId)?.index !== undefined
    const isFounding = (await local.get("founding")) === stored.clusterId
    await this.#own.roster.load()
    // From here on frames may open the replica too: identity and opening are set in one turn.
    this.#own.resume(stored)
    if (stored.peerId !== this.#parts.mesh.peerId) {
      await this.#lose("the key of this node is not the one that its member had")
    } else if (isFounding || isRecovered || replicaOf === stored.clusterId) {
      try {
        await this.#own.openReplica(isFounding)
      } catch (error) {
        const loss = lossOf(error)
        if (loss === undefined) throw error
        await this.#lose(loss)
      }
    }
  }

  start(): void {
    this.#isStarted = true
    this.#greeting.start()
    if (this.#own.identity)
      for (const member of this.#own.roster.members) void this.#greeting.approach(member)
    else if (this.#destination) void this.#travel(this.#destination)
    else if (this.#removed === undefined) this.#seeking.start()
    // It dissolved and this node died before it left.
    const row = this.#own.row()
    if (row?.dissolvedInto) this.dissolved(row.dissolvedInto, row.dissolvedPeers ?? [], false)
  }

  async stop(): Promise<void> {
    this.#stopping.abort(
      new TroupeError("ERR_STOPPED", "this node is stopping", { what: "membership" }),
    )
    this.#seeking.stop()
    this.#greeting.stop()
    await this.#own.slot.close()
  }

  async learnRoster(members: readonly Member[], index: number): Promise<void> {
    await this.#own.roster.learn(members, index)
  }

  /** Called with every lease. */
  async retireReplica(): Promise<void> {
    await this.#own.slot.retire(this.members())
  }

  // ---------------------------------------------------------------- founding

  async #found(): Promise<void> {
    const { parts, options } = { parts: this.#parts, options: this.#options }
    const clusterId = Buffer.from(parts.random.bytes(16)).toString("hex")
    parts.logger.info("founding a cluster", { cluster: options.cluster, clusterId })
    this.#founding = true
    try {
      await this.#own.found(clusterId)
      this.#foundedAt = parts.clock.boottime()
    } catch (error) {
      if (!this.#stopping.signal.aborted) parts.fatal(74, error as Error)
    } finally {
      this.#founding = false
    }
  }

  // ---------------------------------------------------------------- meeting others

  #hello(): Hello {
    const identity = this.#own.identity
    const row = this.#own.row()
    return {
      cluster: this.#options.cluster,
      clusterId: identity?.clusterId,
      memberId: identity?.memberId,
      pristine: row?.pristine ?? false,
      members: this.members().length,
      declaration: this.#hooks.declaration(),
      leaderPeer: this.#hooks.leaderPeer(),
      redirects: redirectsOf(this.#own.redirects, row),
      // Only who holds the tables knows whether the cluster is pristine; absent means: ask the leader.
      startedAt: row?.time,
      expect: this.#options.expect,
      seekers: identity || this.#isBusy() ? [] : this.#seeking.peers(),
    }
  }

  /** Answers a hello or a wish to join. */
  async handle(from: string, payload: Uint8Array): Promise<Uint8Array> {
    const request = joinRequest.decode(payload)
    if (request.type === "hello") {
      queueMicrotask(() => this.#consider({ peerId: from, addresses: [] }, request.hello))
      return joinAnswer.encode({ type: "hello", hello: this.#hello() })
    }
    const instead = request.type === "rejoin" ? request.instead : undefined
    return joinAnswer.encode(await this.#answerJoin(from, request.declaration, instead))
  }

  async #answerJoin(
    from: string,
    declaration: MemberDeclaration,
    instead: number | undefined,
  ): Promise<JoinAnswer> {
    if (declaration.peerId !== from) return { type: "refused", reason: "declares another peer id" }
    if (!this.#own.identity) {
      const { peers } = this.#destination ?? {}
      if (peers) return { type: "redirect", peers }
      return { type: "refused", reason: "this node has no cluster yet" }
    }
    try {
      if (instead === undefined) return await this.#hooks.admit(declaration)
      return await this.#hooks.readmit(declaration, instead)
    } catch (error) {
      return { type: "refused", reason: error instanceof Error ? error.message : String(error) }
    }
  }

  #consider(peer: PeerRef, hello: Hello): void {
    if (hello.cluster !== this.#options.cluster || this.#isBusy()) return
    const mine = this.#own.identity
    const other = hello.clusterId
    const leader = hello.leaderPeer
    const peers = leader && leader.peerId !== peer.peerId ? [peer, leader] : [peer]
    if (!mine) {
      const { instead, redirect } = this.#destination ?? {}
      if (instead !== undefined && other !== redirect?.from) return
      if (other) {
        this.#seeking.lost(peer.peerId)
        void this.#join(peers)
      } else this.#seeking.heard(peer.peerId, hello)
      return
    }
    const gone = hello.redirects.find(({ from }) => from === mine.clusterId)
    if (gone && this.#isLeftBehind(gone, peer)) {
      void this.#leave({ redirect: gone, peers })
      return
    }
    if (other === mine.clusterId) void this.#refreshRoster(peer)
    if (!other || other === mine.clusterId) return
    if (hello.startedAt === undefined) {
      if (hello.leaderPeer) void this.#greeting.approach(hello.leaderPeer)
      return
    }
    this.#hooks.meet(hello, peer).catch((error: unknown) => {
      this.#parts.logger.debug("a meeting was not weighed", { error: String(error) })
    })
  }

  /** Whether a peer's word that this cluster has gone elsewhere is enough. While there is a leader here, the log decides
   *  whether it gives way to its own recovery. */
  #isLeftBehind(redirect: Redirect, peer: PeerRef): boolean {
    const isMember = this.members().some((member) => member.peerId === peer.peerId)
    if (redirect.index === undefined) {
      // Who accepted work stays, whatever others say.
      return isMember && this.#own.row()?.pristine !== false
    }
    return this.#isLeaderless(isMember ? this.#options.timing.sessionMs : strangerMs)
  }

  #isLeaderless(patienceMs: number): boolean {
    return !this.#hooks.leaderPeer() && this.#greeting.leaderlessMs() >= patienceMs
  }

  /** Whether this peer may say that this node was removed. Of those whom an old roster names perhaps nobody is left. */
  #isBelieved(peer: PeerRef): boolean {
    const isMember = this.members().some(({ peerId }) => peerId === peer.peerId)
    return isMember || this.#isLeaderless(strangerMs)
  }

  /** Leader only: what a meeting with another cluster of the same name leads to. */
  weigh(hello: Hello): Verdict {
    return this.#meeting.weigh(this.replica?.tables, hello)
  }

  /** Leader only: it does not give way although the other was recovered from it. */
  conflict(hello: Hello): void {
    const row = this.#own.row()
    if (row) this.#meeting.conflict(hello, row)
  }

  // ---------------------------------------------------------------- joining and leaving

  /** Goes to another cluster until it has arrived; where a dissolved one went may be unreachable for good. */
  async #travel(destination: Destination): Promise<void> {
    this.#destination = destination
    await this.#join(destination.peers)
    // A cluster that has accepted work is never founded anew in its place.
    while (destination.redirect.index !== undefined && this.#isHomeless()) {
      // Whoever else joins here meanwhile needs time for it.
      await this.#pause()
      await this.#join(destination.peers)
    }
    this.#destination = undefined
    if (this.#stopping.signal.aborted) return
    await this.#parts.local.delete("destination")
    if (!this.#own.identity && !this.#isBusy()) this.#seeking.start()
  }

  async #pause(): Promise<void> {
    const { signal } = this.#stopping
    await this.#parts.clock.sleep(travelRetryMs, { signal }).catch(() => undefined) // Stopping: the caller looks.
  }

  #isHomeless(): boolean {
    const isRemoved = this.#removed !== undefined
    return !this.#own.identity && !isRemoved && !this.#stopping.signal.aborted
  }

  async #join(peers: readonly PeerRef[]): Promise<void> {
    if (this.#isBusy() || this.#own.identity) return
    this.#joining = true
    this.#seeking.stop()
    try {
      const answer = await join(this.#joiningParts, peers, this.#limit(joinGiveUpMs, "joining"))
      if (answer.type === "removed") await this.#noteRemoval(answer.reason)
      else await this.#own.adopt(answer)
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#parts.logger.warn("could not join; seeking again", { error: String(error) })
    } finally {
      this.#joining = false
      if (this.#isHomeless() && !this.#destination) this.#seeking.start()
    }
  }

  /** Somebody of this cluster whom neither roster nor tables here name: they are old, perhaps older than the leader, whose
   *  orders and frames would be refused for ever. Members that it names are asked for a newer one, or, where none answers,
   *  the stranger. Also asked without one, by who hears no leader: it may have been removed. */
  async #refreshRoster(stranger: PeerRef | undefined): Promise<void> {
    const identity = this.#own.identity
    const known = this.members()
    const isKnown = known.some(({ peerId }) => peerId === stranger?.peerId)
    if (!identity || isKnown || this.#refreshing) return
    this.#refreshing = true
    try {
      const signal = this.#limit(joinGiveUpMs, "asking for the roster")
      const connected = new Set(this.#parts.mesh.connectedPeers())
      const near = known.filter(({ peerId }) => connected.has(peerId))
      for (const peer of stranger ? [...near, stranger] : near) {
        const answer = await askToJoin(this.#joiningParts, peer, signal)
        if (this.#own.identity !== identity) return
        if (answer?.type === "removed" && this.#isBelieved(peer)) {
          await this.#leaveForGood(answer.reason)
          return
        }
        const { clusterId, memberId } = identity
        if (answer?.type !== "admitted" || answer.clusterId !== clusterId) continue
        if (answer.memberId !== memberId) {
          if (!this.#isBelieved(peer)) continue
          await this.#lose(
            `this node is member ${answer.memberId} by now: its disk is an older copy`,
          )
          return
        }
        // As of the entry that admits us again: later than anything that this node has seen.
        const index = Math.max(this.#own.roster.index, this.replica?.applied.index ?? 0) + 1
        await this.#own.roster.keep(answer.members, index)
        return
      }
    } catch (error) {
      this.#parts.logger.debug("no newer roster", { error: String(error) })
    } finally {
      this.#refreshing = false
    }
  }

  /** Leaves for another cluster, or another incarnation of this one. */
  async #leave(destination: Destination): Promise<void> {
    const { from, into } = destination.redirect
    if (this.#own.identity?.clusterId !== from || into === from || this.#isBusy()) return
    this.#joining = true
    try {
      const { logger } = this.#parts
      if (destination.redirect.index === undefined) {
        logger.info("the cluster dissolved into another", { from, into })
      } else {
        logger.warn("the cluster was recovered elsewhere: what is here is put aside", {
          from,
          into,
        })
      }
      await this.#parts.local.put("destination", destination)
      await this.#own.putAside(from, { redirect: destination.redirect })
    } finally {
      this.#joining = false
    }
    await this.#travel(destination)
  }

  /** Another member says that this node runs on an older copy of its disk, or without its log. */
  async outdated(from: string, outdated: Outdated): Promise<void> {
    const { memberId, boot, reason } = outdated
    const isVoter = this.members().some(({ peerId, role }) => peerId === from && role === "voter")
    const isMeant = this.#own.identity?.memberId === memberId && boot === bootTag(this.#boot)
    if (isVoter && isMeant) await this.#lose(reason)
  }

  /** What the member on disk promised is not there: it is put aside unread, and this node comes back as another member. */
  async #lose(reason: string): Promise<void> {
    const identity = this.#own.identity
    if (!identity || this.#isBusy()) return
    const { clusterId, memberId } = identity
    const members = this.members()
    if (!canRejoin(identity, members)) throw onlyVoter(identity, reason)
    const peers = members
      .filter(({ id, peerId }) => id !== memberId && peerId !== "")
      .map(({ peerId, addresses }) => ({ peerId, addresses }))
    const redirect = { from: clusterId, into: clusterId, index: 0 }
    const destination: Destination = { redirect, peers, instead: memberId }
    this.#joining = true
    try {
      this.#parts.logger.error("the log of this member is lost: it comes back as another", {
        memberId,
        reason,
      })
      await this.#parts.local.put("destination", destination)
      await this.#own.putAside(clusterId, { lost: memberId })
      this.#destination = destination
    } finally {
      this.#joining = false
    }
    if (this.#isStarted) void this.#travel(destination)
  }

  /** Called when it is applied here that the cluster goes into another. The leader lingers so that the others hear the
   *  commit. */
  dissolved(into: string, peers: readonly PeerRef[], leading: boolean): void {
    const from = this.#own.identity?.clusterId
    if (from === undefined) return
    const heartbeats = 3 * this.#options.timing.tickMs * this.#options.timing.heartbeatTicks
    const isRecovery = this.#own.row()?.pristine === false
    const index = isRecovery ? { index: this.replica!.applied.index } : {}
    const redirect: Redirect = { from, into, ...index }
    const leave = (): void => void this.#leave({ redirect, peers })
    this.#parts.clock.after(leading ? heartbeats : 0, leave)
  }

  /** A member says that somebody removed this node. */
  async removedBy(from: string, memberId: number, reason: string): Promise<void> {
    const isMember = this.members().some(({ peerId }) => peerId === from)
    if (isMember && this.#own.identity?.memberId === memberId) await this.#leaveForGood(reason)
  }

  async #leaveForGood(reason: string): Promise<void> {
    const clusterId = this.#own.identity?.clusterId
    if (clusterId === undefined || this.#isBusy()) return
    await this.#noteRemoval(reason)
    await this.#own.putAside(clusterId)
  }

  async #noteRemoval(reason: string): Promise<void> {
    this.#removed = reason
    this.#parts.logger.warn("this node was removed from its cluster", { reason })
    await this.#parts.local.put("removed", reason)
  }

  // ---------------------------------------------------------------- frames

  handleFrame(from: string, frame: Uint8Array): void {
    this.#own.slot.handleFrame(from, frame)
  }

  async handleSnapshot(stream: ByteStream): Promise<void> {
    await this.#own.slot.handleSnapshot(stream)
  }

  /** The own row differs from what this node is now (a new address, other labels): tell the leader. */
  async refreshDeclaration(): Promise<void> {
    const identity = this.#own.identity
    if (!identity) return
    const declaration = this.#hooks.declaration()
    const row = this.members().find((member) => member.id === identity.memberId)
    if (row && !isSameDeclaration(row, declaration)) await this.#hooks.declare(declaration)
  }

  #limit(ms: number, what: string): AbortSignal {
    return AbortSignal.any([this.#stopping.signal, this.#parts.clock.timeoutSignal(ms, what)])
  }
}
