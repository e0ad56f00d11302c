/** Leases and sessions: the leader asks every member, each moment, and notes who answers. */
import { bootTag } from "./boots.ts"
import { Facts, type Member, understands, versionsOf } from "../schema/index.ts"
import { readMembers, readSession } from "../state/index.ts"
import type { AttemptSummary, HeardAt, JobAnswer } from "../wire/index.ts"
import { type Duty, noteLost, proposeSoftly } from "./duty.ts"

const nothingHeard: HeardAt = { boot: "", at: 0 }

/** Members of older builds do not know of it. */
function countsFromAnswers(member: Member): boolean {
  return understands(versionsOf(member), 3)
}

/** What the leader knows of a member beyond the tables. Soft: a new leader learns it again. */
export interface Contact {
  /** Boot-time clock of the last answer; of the term's start before any. */
  heardAt: number
  /** Since when every lease was answered. */
  steadySince: number
  answered: boolean
  asking: boolean
  rosterSent: number
  running: number
  /** As of the last answer. */
  facts?: Facts | undefined
  /** Of the last answer: its start, and when it was given by its own boot-time clock. */
  heard?: HeardAt | undefined
  /** Its wall clock against ours, ms. */
  clockOffsetMs?: number | undefined
}

export interface LeaseHooks {
  /** A member answered and told what it holds. */
  held(member: Member, attempts: readonly AttemptSummary[]): void
  /** Somebody answers who did not, or takes work who did not, or the other way round. */
  changed(): void
  /** False while there is something to settle before the member's attempts count again. */
  mayReturn(member: Member): boolean
  /** False after a standstill, until this leader is confirmed: it gives no leases then. */
  isSure(): boolean
}

export class Leases {
  readonly #duty: Duty
  readonly #hooks: LeaseHooks
  readonly #contacts = new Map<number, Contact>()
  readonly #opening = new Set<number>()
  #rosterIndex: number

  constructor(duty: Duty, hooks: LeaseHooks) {
    this.#duty = duty
    this.#hooks = hooks
    this.#rosterIndex = duty.replica.applied.index
  }

  start(): void {
    const { parts, options } = this.#duty.context
    const timer = parts.clock.every(options.timing.leaseRenewMs, () => this.renewAll())
    this.#duty.signal.addEventListener("abort", () => timer.cancel())
    this.renewAll()
  }

  get contacts(): ReadonlyMap<number, Contact> {
    return this.#contacts
  }

  /** Nothing was heard while nothing ran: everybody gets a whole silence of now (C-45). */
  woke(gapMs: number): void {
    for (const contact of this.#contacts.values()) contact.heardAt += gapMs
  }

  /** No connection to it is left: nothing is placed there until it answers again. */
  disconnected(peerId: string): void {
    const member = readMembers(this.#duty.replica.tables).find((one) => one.peerId === peerId)
    const contact = member && this.#contacts.get(member.id)
    if (!contact) return
    contact.answered = false
    this.renew(member.id)
  }

  /** Members that take nothing new by their own word, and why. Its own is in its own answer, too. */
  full(): ReadonlyMap<number, string> {
    const full = new Map<number, string>()
    for (const [id, { facts }] of this.#contacts) {
      if (facts?.full !== undefined) full.set(id, facts.full)
    }
    return full
  }

  forget(id: number): void {
    this.#contacts.delete(id)
  }

  /** ms since the member was heard; 0 for this node. */
  silentMs(id: number): number {
    if (id === this.#duty.replica.memberId) return 0
    const contact = this.#contacts.get(id)
    if (!contact || contact.answered) return 0
    return this.#duty.context.parts.clock.boottime() - contact.heardAt
  }

  /** The roster as of this index is sent to everybody. */
  rosterChanged(index: number): void {
    this.#rosterIndex = index
    this.renewAll()
  }

  sessionChanged(node: number): void {
    this.#opening.delete(node)
    this.renew(node)
  }

  renewAll(): void {
    if (!this.#hooks.isSure()) return
    for (const member of readMembers(this.#duty.replica.tables)) this.renew(member.id)
  }

  #contact(id: number): Contact {
    const known = this.#contacts.get(id)
    if (known) return known
    const now = this.#duty.context.parts.clock.boottime()
    const contact: Contact = {
      heardAt: now,
      steadySince: now,
      answered: false,
      asking: false,
      rosterSent: -1,
      running: 0,
    }
    this.#contacts.set(id, contact)
    return contact
  }

  renew(id: number): void {
    const member = readMembers(this.#duty.replica.tables).find((one) => one.id === id)
    if (!member || this.#duty.signal.aborted) return
    const contact = this.#contact(id)
    if (contact.asking) return
    contact.asking = true
    void this.#askLease(member, contact).finally(() => {
      contact.asking = false
    })
  }

  async #askLease(member: Member, contact: Contact): Promise<void> {
    const { parts, options } = this.#duty.context
    const { clock, mesh } = parts
    const session = readSession(this.#duty.replica.tables, member.id)
    const rosterIndex = this.#rosterIndex
    const signal = AbortSignal.any([
      this.#duty.signal,
      clock.timeoutSignal(options.timing.leaseRenewMs * 2, "a lease"),
    ])
    const askedAt = clock.now()
    try {
      const answer = await this.#duty.context.job(
        member,
        {
          type: "lease",
          clusterId: this.#duty.context.identity()!.clusterId,
          term: this.#duty.term,
          leader: this.#duty.replica.memberId,
          leaderPeer: { peerId: mesh.peerId, addresses: [...mesh.addresses()] },
          lease: session?.state === "up" ? session.lease : 0,
          ttlMs: options.timing.leaseMs,
          rosterIndex,
          ...(contact.rosterSent < rosterIndex && {
            members: readMembers(this.#duty.replica.tables),
          }),
          pace: { ...this.#duty.replica.pace, boot: this.#duty.context.boot() },
          ...(countsFromAnswers(member) && { heard: contact.heard ?? nothingHeard }),
        },
        { signal },
      )
      if (answer.type !== "lease") return
      if (!this.#duty.replica.isCurrent(member.id, bootTag(answer.boot))) {
        throw new Error("it runs from an older copy of its disk")
      }
      this.#hearAt(member, contact, answer)
      this.#heard(contact)
      this.#learn(member, contact, { facts: answer.facts, at: (askedAt + clock.now()) / 2 })
      contact.rosterSent = rosterIndex
      contact.running = answer.attempts.filter((one) => one.state !== "ended").length
      if (session?.state !== "up" || session.boot !== answer.boot) {
        if (this.#hooks.mayReturn(member)) this.#openSession(member.id, answer.boot)
        return
      }
      this.#hooks.held(member, answer.attempts)
    } catch (error) {
      if (this.#duty.signal.aborted) return
      this.#unheard(member, contact, error)
    }
  }

  #heard(contact: Contact): void {
    const now = this.#duty.context.parts.clock.boottime()
    contact.heardAt = now
    if (contact.answered) return
    contact.steadySince = now
    contact.answered = true
    this.#hooks.changed()
  }

  /** Its right counts from this answer on; one that had none, or not for a while, is told so at once. */
  #hearAt(member: Member, contact: Contact, answer: Extract<JobAnswer, { type: "lease" }>): void {
    const { boot, at } = answer
    if (at === undefined) return
    const isFirst = contact.heard?.boot !== boot || !contact.answered
    contact.heard = { boot, at }
    if (isFirst) this.#duty.context.parts.clock.soon(() => this.renew(member.id))
  }

  /** What a voter needs, its leader waits for too; a longer timeout is announced at once. */
  #learn(
    member: Member,
    contact: Contact,
    told: { readonly facts: unknown; readonly at: number },
  ): void {
    const { replica } = this.#duty
    const facts = Facts.safeParse(told.facts).data
    const isOther = contact.facts?.full !== facts?.full
    contact.facts = facts
    if (isOther) this.#hooks.changed()
    const vitals = facts?.vitals
    if (!vitals) return
    contact.clockOffsetMs = vitals.at - told.at
    if (member.role !== "voter") return
    const needs = [
      { what: `loop delay of ${member.name}`, p99Ms: vitals.loopDelayP99Ms },
      { what: `fsync of ${member.name}`, p99Ms: vitals.fsyncP99Ms },
    ]
    if (replica.hearNeeds(needs)) this.renewAll()
  }

  #unheard(member: Member, contact: Contact, error: unknown): void {
    const { clock, logger } = this.#duty.context.parts
    contact.answered = false
    const silent = clock.boottime() - contact.heardAt
    logger.debug("a member does not answer", { member: member.name, silent, error: String(error) })
    if (silent < this.#duty.context.options.timing.sessionMs) return
    const session = readSession(this.#duty.replica.tables, member.id)
    if (session?.state !== "up" || this.#opening.has(member.id)) return
    logger.warn("a member is silent; its session is lost", {
      member: member.name,
      silentMs: silent,
    })
    proposeSoftly(this.#duty, {
      type: "session",
      items: [{ node: member.id, boot: session.boot, state: "lost" }],
    })
  }

  #openSession(node: number, boot: string): void {
    if (this.#opening.has(node)) return
    this.#opening.add(node)
    this.#duty.replica
      .propose({ type: "session", items: [{ node, boot, state: "up" }] })
      .catch((error: unknown) => {
        this.#opening.delete(node)
        noteLost(this.#duty, error)
      })
  }
}
