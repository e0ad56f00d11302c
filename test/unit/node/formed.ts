/** A formed cluster in virtual time, for tests that do one thing to one of its nodes. */
import { SubmitRun } from "../../../src/schema/index.ts"
import type { Machine, MachineOptions } from "../../sim/cluster/machine.ts"
import { formed } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"

const formMs = 60_000

/** Nodes 1 to `size`, the first of which founds; every one is told of all before it. */
export async function formCluster(
  size: number,
  limits?: MachineOptions["limits"],
): Promise<{ world: World; leader: Machine }> {
  const world = new World({ seed: 1 })
  for (let number = 1; number <= size; number++) {
    const seeds = Array.from({ length: number - 1 }, (_, place) => place + 1)
    world.add({ number, seeds, limits }).start()
  }
  const leader = await world.until("one cluster", formMs, () => formed(world))
  return { world, leader }
}

/** Submits a run of one role and tells what became of it so far. */
export function submit(
  world: World,
  machine: Machine,
  key: string,
  on?: string,
): { run: string | undefined } {
  const where = on === undefined ? "" : `    agent: ${on}\n`
  const document = `api_version: v1\nroles:\n  only:\n    command: [work]\n${where}`
  const answer: { run: string | undefined } = { run: undefined }
  const signal = world.clock.timeoutSignal(60_000, "a submission")
  machine
    .node!.submitRun(SubmitRun.parse({ document }), { principal: "anonymous", key }, { signal })
    .then(
      ({ run }) => {
        answer.run = run.id
      },
      (error: unknown) => world.note(`${key} was not acknowledged: ${String(error)}`),
    )
  return answer
}

/** The disk takes this long for each sync from now on. */
export function slowDisk(machine: Machine, syncMs: number): void {
  Object.assign(machine.disk.options, { syncMs: () => syncMs })
}
