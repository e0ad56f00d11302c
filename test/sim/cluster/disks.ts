/** What happens to the disks of stopped machines, and the book of it: never so many voters are damaged at once that what
 *  was acknowledged could rightly be gone. */
import { backUp, deleteParts } from "../../support/fake-storage.ts"
import type { FakeDisk } from "../../support/fake-disk.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Machine } from "./machine.ts"
import { gauge, leads } from "./roles.ts"
import { membersOf } from "./verify.ts"
import type { World } from "./world.ts"

const damages = ["data", "raft", "raft and fsm", "fsm", "bit", "older"] as const
/** What was deleted, a flipped bit in the log, or an image put back. `fsm` is no loss: the log makes the tables again. */
type Damage = (typeof damages)[number]

interface Image {
  /** Of the disk that it was taken from: a wiped machine has another. */
  readonly disk: FakeDisk
  readonly putBack: () => void
}

const parts = { raft: ["raft"], fsm: ["fsm"], "raft and fsm": ["raft", "fsm"] } as const
const termGauge = "troupe_raft_term"
const wholeMs = 3000
const lookMs = 20
const imagesMax = 3
/** An older image is told within this time, or it lacks nothing. */
const settleMs = 20_000

export class Disks {
  readonly #world: World
  readonly #random: SeededRandom
  readonly #images = new Map<Machine, Image[]>()
  /** Members that lost what they had promised. */
  readonly #damaged = new Set<number>()
  /** Who runs on an older image, until when nobody else is hurt. */
  #delicate:
    | { readonly machine: Machine; readonly memberId: number; readonly end: number }
    | undefined
  /** How often which damage was done. */
  readonly done = new Map<Damage, number>()

  constructor(world: World, random: SeededRandom) {
    this.#world = world
    this.#random = random
  }

  /** Somebody backs a disk up while its node runs. */
  image(machine = this.#random.pick(this.#world.machines)): void {
    if (!machine.node) return
    const images = this.#images.get(machine) ?? []
    this.#images.set(machine, images)
    images.push({ disk: machine.disk, putBack: backUp(machine.disk) })
    if (images.length > imagesMax) images.splice(this.#random.below(images.length), 1)
    this.#world.note(`${machine.name} is backed up`)
  }

  /**
   * Whether everybody else is to be left alone: one older image is one lost disk, and a leader that is away meanwhile
   * would be the second loss.
   */
  get isDelicate(): boolean {
    const { clock } = this.#world
    const { machine, memberId, end } = this.#delicate ?? {}
    if (!machine || clock.boottime() >= end!) this.#delicate = undefined
    else {
      const leader = this.#world.machines.find((one) => leads(one))
      const members = leader ? membersOf(leader) : []
      const own = members.find(({ peerId }) => peerId === machine.peerId)
      if (own && own.id !== memberId) this.#delicate = undefined
    }
    return this.#delicate !== undefined
  }

  /** Does something to the disk of a machine that is about to start, if that may be; then starts it. */
  hurt(victim: Machine, start: () => void): void {
    const memberId = this.isDelicate ? undefined : this.#expendable(victim)
    const damage = this.#random.pick(damages)
    if (memberId === undefined) start()
    else if (damage === "older") this.#age(victim, memberId, start)
    else {
      this.#damage(victim, damage)
      this.#note(victim, memberId, damage)
      start()
    }
  }

  #damage(victim: Machine, damage: Exclude<Damage, "older">): void {
    if (damage === "data") victim.wipe(joinsOnly(this.#world))
    else if (damage === "bit") this.#flip(victim)
    else deleteParts(victim.disk, parts[damage])
  }

  #note(victim: Machine, memberId: number, damage: Damage): void {
    this.#world.note(`${victim.name}, member ${memberId}, is damaged: ${damage}`)
    if (damage !== "fsm") this.#damaged.add(memberId)
    this.done.set(damage, (this.done.get(damage) ?? 0) + 1)
  }

  /** The victim's member, when all that was acknowledged is safe without its disk too. */
  #expendable(victim: Machine): number | undefined {
    const leaders = this.#world.machines.filter((machine) => machine !== victim && leads(machine))
    const [leader] = leaders
    const newest = Math.max(...this.#world.machines.map((one) => gauge(one, termGauge) ?? 0))
    // One that leads no longer and does not know may not know who votes either.
    if (!leader || leaders.length > 1 || gauge(leader, termGauge) !== newest) return undefined
    const sets = leader.replicated?.voters ?? []
    if (sets.length === 0) return undefined
    const own = membersOf(leader).find(({ peerId }) => peerId === victim.peerId)
    if (!own) return undefined
    const isSafe = sets.every((voters) => {
      const gone = voters.filter((id) => id === own.id || this.#damaged.has(id))
      return !voters.includes(own.id) || gone.length <= Math.floor((voters.length - 1) / 2)
    })
    return isSafe ? own.id : undefined
  }

  /** An older image, once everybody else has what the leader has now, and so all that the victim ever acknowledged. */
  #age(victim: Machine, memberId: number, start: () => void): void {
    const { clock, machines } = this.#world
    const images = (this.#images.get(victim) ?? []).filter(({ disk }) => disk === victim.disk)
    const goal = machines.find((machine) => leads(machine))!.replicated!.index
    const giveUpAt = clock.boottime() + wholeMs
    const settle = (end: number): void => {
      this.#delicate = { machine: victim, memberId, end }
    }
    const look = (): void => {
      if (victim.running) return
      if (images.length > 0 && this.#isWhole(victim, memberId, goal)) {
        this.#random.pick(images).putBack()
        this.#note(victim, memberId, "older")
        settle(clock.boottime() + settleMs)
        start()
      } else if (images.length === 0 || clock.boottime() >= giveUpAt) start()
      else clock.after(lookMs, look)
    }
    settle(giveUpAt)
    look()
  }

  #isWhole(victim: Machine, memberId: number, goal: number): boolean {
    const others = this.#world.machines.filter((machine) => machine !== victim)
    const leader = others.find((machine) => leads(machine))
    const [voters, outgoing] = leader?.replicated?.voters ?? []
    if (!voters || outgoing || others.some(({ node }) => !node?.ready().ready)) return false
    const whole = others.filter(
      ({ replicated }) =>
        replicated && replicated.index >= goal && voters.includes(replicated.memberId),
    )
    return whole.length === voters.filter((id) => id !== memberId).length
  }

  #flip(victim: Machine): void {
    const wal = victim.disk.directory("/raft/wal")
    const names = wal.list().filter((name) => name !== "spare")
    if (names.length === 0) return
    const name = this.#random.pick(names.toSorted())
    const at = this.#random.next()
    const bit = 1 << this.#random.below(8)
    wal.damage(name, (bytes) => {
      // Where something was written: what else is found is for the log's own tests.
      const end = bytes.findLastIndex((byte) => byte !== 0)
      if (end >= 0) bytes[Math.floor(at * end)]! ^= bit
      return bytes
    })
  }
}

/** Who is set up anew while everybody else is out of reach would found a cluster and accept work in it, and rightly so. */
export function joinsOnly({ machines }: World): { readonly expect: number } {
  return { expect: machines.length + 1 }
}
