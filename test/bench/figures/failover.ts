/** failover: from the loss of the leader to the first acknowledged write at the survivors. */
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { type Mesh, type MeshNode, startMesh } from "../mesh.ts"
import { ended, oneRole, submit, write } from "../runs.ts"
import { anchorClock, eventually, rest } from "../waiting.ts"

export const failover: Figure = {
  name: "failover",
  about: "kill -9 of the leader → first acknowledged submit and write at the survivors",
  run: (bench) => measure(bench, "killed"),
}

export const failoverSilent: Figure = {
  name: "failover-silent",
  about: "the same with the leader's link cut (on loopback: its process paused)",
  run: (bench) => measure(bench, "silent"),
}

export const handover: Figure = {
  name: "handover",
  about: "SIGTERM of the leader → first acknowledged submit and write at the survivors",
  run: (bench) => measure(bench, "stopped"),
}

type Loss = "killed" | "silent" | "stopped"

const names: Readonly<Record<Loss, string>> = {
  killed: "failover",
  silent: "failover-silent",
  stopped: "handover",
}

interface Trial {
  readonly led: number
  readonly written: number
  readonly submitted: number
}

const retryMs = 2
const limitMs = 10_000
/** A cluster that was whole for this long is as good as one that was never hurt. */
const calmMs = 500

async function measure(bench: Bench, loss: Loss): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const early = untilLate(bench)
  const [first] = mesh.nodes
  const run = await submit(first!.api, oneRole("written", { command: ["true"], node: first!.name }))
  await ended(first!.api, run.id)
  const trials: Trial[] = []
  for (let number = 1; number <= (bench.n ?? 12) && early(); number++) {
    await mesh.steady()
    await rest(calmMs)
    trials.push(await lose(mesh, { loss, number, run: run.id }))
  }
  await mesh.end()
  const name = names[loss]
  const row = (figure: string, of: (trial: Trial) => number): Measured => ({
    figure: `${name}.${figure}`,
    unit: "ms",
    samples: trials.map(of),
  })
  return [
    row("submit", (trial) => trial.submitted),
    row("write", (trial) => trial.written),
    row("leader", (trial) => trial.led),
  ]
}

async function lose(
  mesh: Mesh,
  trial: { readonly loss: Loss; readonly number: number; readonly run: string },
): Promise<Trial> {
  const leader = await mesh.leader()
  const survivors = mesh.nodes.filter((node) => node !== leader)
  const [one, other] = trial.number % 2 === 0 ? survivors : survivors.toReversed()
  const key = `failover-${trial.number}`
  const request = oneRole(key, { command: ["true"], node: one!.name })
  const now = anchorClock()
  const begun = now()
  const back = hurt(leader, trial.loss)
  const [submitted, written] = await Promise.all([
    acknowledged(now, () => submit(one!.api, request, { key, limitMs })),
    acknowledged(now, () => write(other!.api, trial.run, limitMs)),
  ])
  const led = await eventually("a survivor to say that it leads", () =>
    survivors.map((node) => node.ledSince(begun)).find((time) => time !== undefined),
  )
  await back()
  await eventually("the submitted run to be there", async () => {
    const { id } = await submit(one!.api, request, { key })
    return await ended(one!.api, id)
  })
  return { submitted: submitted - begun, written: written - begun, led: led - begun }
}

/** Takes the leader away at once; the answer brings it back. */
function hurt(leader: MeshNode, loss: Loss): () => Promise<void> {
  if (loss !== "silent") {
    const gone = loss === "killed" ? leader.kill() : leader.stop()
    return async () => {
      await gone
      leader.start()
    }
  }
  if (leader.host.cut) {
    leader.host.cut()
    return async () => await Promise.resolve(leader.host.heal())
  }
  process.kill(leader.pid, "SIGSTOP")
  return async () => await Promise.resolve(void process.kill(leader.pid, "SIGCONT"))
}

/** When somebody said yes; a refusal or a lost connection is tried again, as a client with a key does. */
async function acknowledged(now: () => number, ask: () => Promise<unknown>): Promise<number> {
  const end = now() + limitMs
  for (;;) {
    try {
      await ask()
      return now()
    } catch (error) {
      if (now() > end) throw error
      await rest(retryMs)
    }
  }
}
