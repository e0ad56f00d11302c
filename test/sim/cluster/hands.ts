/** What people do to a cluster by hand while it works: nodes are removed, leadership is handed on. */
import type { TroupeNode } from "../../../src/node/index.ts"
import { until } from "../../../src/platform/index.ts"
import { isTroupeError } from "../../../src/schema/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Machine } from "./machine.ts"
import { leads } from "./roles.ts"
import { membersOf } from "./verify.ts"
import type { World } from "./world.ts"

const patienceMs = 40_000

export class Hands {
  readonly #world: World
  readonly #random: SeededRandom
  readonly done = new Map<"removed" | "handed on" | "refused by hand", number>()

  constructor(world: World, random: SeededRandom) {
    this.#world = world
    this.#random = random
  }

  /** Asks any node for one thing; answers the machine that is to be removed, if one is. */
  one(): Machine | undefined {
    const up = this.#world.machines.filter(({ node }) => node)
    if (up.length === 0) return undefined
    const asked = this.#random.pick(up)
    const machine = this.#random.pick(this.#world.machines)
    if (this.#random.chance(0.6)) {
      const to = this.#random.chance(0.5) ? { to: machine.name } : {}
      this.#ask("handed on", asked, (node, signal) => node.transferLeader(to, { signal }))
      return undefined
    }
    const leader = up.find((one) => leads(one))
    const member = leader && membersOf(leader).find(({ peerId }) => peerId === machine.peerId)
    if (!member) return undefined
    this.#world.note(`${asked.name} is asked to remove ${machine.name}, member ${member.id}`)
    const node = String(member.id)
    this.#ask("removed", asked, (at, signal) => at.removeNode({ node }, { signal }))
    return machine
  }

  #ask(
    what: "removed" | "handed on",
    asked: Machine,
    work: (node: TroupeNode, signal: AbortSignal) => Promise<unknown>,
  ): void {
    const signal = this.#world.clock.timeoutSignal(patienceMs, "something by hand")
    const count = (name: "removed" | "handed on" | "refused by hand"): void => {
      this.done.set(name, (this.done.get(name) ?? 0) + 1)
    }
    asked.reach(() => {
      const { node } = asked
      if (!node) return
      until(work(node, signal), signal).then(
        () => count(what),
        (error: unknown) => {
          if (!isTroupeError(error)) this.#world.fail(error as Error)
          count("refused by hand")
          this.#world.note(`${asked.name} refused what was to be ${what}: ${String(error)}`)
        },
      )
    })
  }
}
