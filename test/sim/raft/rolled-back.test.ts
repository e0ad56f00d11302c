/** Disks that go back to an older state of theirs, more of them than may fail: what was promised can be lost, but no
 *  two members are taken to agree that do not, and who forgot is not ended by who remembers. */
import { expect, test } from "vitest"
import { emptyConfState, type Id, type Message } from "../../../src/consensus/index.ts"
import { SeededRandom } from "../../support/random.ts"
import { type Start, Member } from "../../unit/consensus/member.ts"

const seeds = 600
const minute = 60_000
const inflightMax = 200

/** The leader is of disks that forgot what this member knows. */
const forgotten = /disks of a majority were rolled back/

class World {
  readonly #random: SeededRandom
  readonly ids: readonly Id[]
  readonly alive = new Map<Id, Member>()
  readonly ended = new Map<Id, string>()
  #flying: Message[] = []
  #count = 0

  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
    this.ids = Array.from({ length: this.#random.chance(0.5) ? 3 : 5 }, (_, place) => place + 1)
    for (const id of this.ids) this.start(id, {})
  }

  start(id: Id, start: Start): void {
    const random = (): number => this.#random.next()
    const config = { random, preVote: true, maxSizePerMsg: this.#random.below(40) }
    this.alive.set(id, new Member(id, { ...start, voters: this.ids, config }))
  }

  /** Whatever it throws ends it, and it alone. */
  #on(id: Id, act: (member: Member) => void): void {
    const member = this.alive.get(id)
    if (!member) return
    try {
      act(member)
      this.#flying.push(...member.settle().take())
    } catch (error) {
      this.alive.delete(id)
      this.ended.set(id, (error as Error).message)
    }
  }

  #any<T>(all: readonly T[]): T {
    return all[this.#random.below(all.length)]!
  }

  /** Turns in which any of these happens; messages come in any order, twice or not at all. */
  pass(turns: number, isRough: boolean): void {
    for (let turn = 0; turn < turns; turn++) {
      const id = this.#any(this.ids)
      const what = this.#random.next()
      if (what < 0.06) this.#on(id, (member) => member.raft.tick())
      else if (what < 0.1) this.#propose()
      else this.#deliver(isRough)
    }
  }

  #propose(): void {
    for (const id of this.ids) {
      if (this.alive.get(id)?.raft.status().raftState !== "StateLeader") continue
      this.#on(id, (member) => member.propose(`${this.#count++}`))
    }
  }

  #deliver(isRough: boolean): void {
    if (this.#flying.length > inflightMax) this.#flying.splice(0, inflightMax / 2)
    if (this.#flying.length === 0) return
    const place = isRough ? this.#random.below(this.#flying.length) : 0
    const message = this.#flying[place]!
    if (!isRough || !this.#random.chance(0.1)) this.#flying.splice(place, 1)
    if (isRough && this.#random.chance(0.1)) return
    this.#on(message.to, ({ raft }) => raft.step(message))
  }

  /** Some disks as they are now. */
  copies(): ReadonlyMap<Id, Start> {
    const chosen = this.ids.filter(() => this.#random.chance(0.6))
    return new Map(
      chosen.map((id) => {
        const member = this.alive.get(id)!
        return [id, { terms: member.terms(), hardState: member.storage.initialState().hardState }]
      }),
    )
  }

  /** All lose what is in memory, and these what they wrote since. */
  rollBack(copies: ReadonlyMap<Id, Start>): void {
    this.#flying = []
    for (const id of this.ids) {
      const member = this.alive.get(id)!
      const { hardState } = member.storage.initialState()
      this.start(id, copies.get(id) ?? { terms: member.terms(), hardState })
      if (this.#random.chance(0.3)) compact(this.alive.get(id)!, this.ids)
    }
  }

  leader(): Member | undefined {
    const all = [...this.alive.values()]
    return all.find(({ raft }) => raft.status().raftState === "StateLeader")
  }
}

/** What is applied is in a snapshot, and gone from the log. */
function compact(member: Member, voters: readonly Id[]): void {
  const { applied: index } = member.settle().raft.status()
  const term = Number(member.storage.term(index))
  member.storage.createSnapshot({ index, term, confState: { ...emptyConfState, voters } })
  member.storage.compact({ index })
}

/** What both say is committed is the same, as far as it is not compacted. */
function expectOnePast(leader: Member, member: Member, seed: string): void {
  const commit = Math.min(leader.raft.status().commit, member.raft.status().commit)
  const from = Math.max(leader.storage.firstIndex(), member.storage.firstIndex())
  for (let index = from; index <= commit; index++) {
    expect(member.storage.term(index), `${seed}, entry ${index}`).toBe(leader.storage.term(index))
  }
}

test(
  `${seeds} seeds: disks are rolled back: who alone remembers stops, the others agree and go on`,
  { timeout: 2 * minute },
  () => {
    const seen = { forgotten: 0, diverged: 0, wentOn: 0 }
    for (let seed = 1; seed <= seeds; seed++) {
      const world = new World(seed)
      world.pass(1500, true)
      const copies = world.copies()
      world.pass(1500, true)
      expect(world.ended, `seed ${seed}`).toEqual(new Map())
      world.rollBack(copies)
      world.pass(2500, true)
      world.pass(4000, false)
      for (const [id, why] of world.ended) {
        expect(why, `seed ${seed}: ${id} ended`).toMatch(forgotten)
        seen.forgotten++
      }
      const leader = world.leader()
      const progress = leader?.raft.status().progress ?? []
      const others = progress.filter(({ id, diverged }) => world.alive.has(id) && !diverged)
      const sound = others.map(({ id }) => world.alive.get(id)!)
      if (leader) for (const member of sound) expectOnePast(leader, member, `seed ${seed}`)
      seen.diverged += progress.filter(({ diverged }) => diverged).length
      if (others.length * 2 <= world.ids.length || !leader) continue
      const { commit } = leader.raft.status()
      world.pass(2000, false)
      if (world.leader() === leader && leader.raft.status().commit > commit) seen.wentOn++
    }
    // All of it happened, and those who were left went on.
    expect(seen.forgotten).toBeGreaterThan(50)
    expect(seen.diverged).toBeGreaterThan(0)
    expect(seen.wentOn).toBeGreaterThan(0.95 * seeds)
  },
)
