/** Output of jobs that are over before anybody looks: followed, it ends, and nothing of it is missing. */
import { expect, test } from "vitest"
import { SubmitJob } from "../../../src/schema/index.ts"
import { formed } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"

const minute = 60_000

test.each([0, 20, 60, 150, 400])("followed %i ms after it was accepted", async (lateMs) => {
  const world = new World({
    seed: 3,
    // Standard error stays empty: of that the node has nothing once the attempt is forgotten.
    script: ({ task }) => ({ durationMs: 5, output: [{ atMs: 1, text: `${task}\n` }] }),
  })
  for (const number of [1, 2, 3]) {
    world.add({ number, seeds: [1, 2, 3].filter((other) => other < number) }).start()
  }
  const leader = await world.until("one cluster", minute, () => formed(world))
  for (let round = 0; round < 5; round++) {
    const signal = world.clock.timeoutSignal(20_000, "following a short job")
    const caller = { principal: "anonymous", key: `k${round}` }
    const job = SubmitJob.parse({ command: ["work"], count: 6 })
    const { run } = await world.clock.drive(leader.node!.submitJob(job, caller, { signal }))
    await world.pass(lateMs)
    const query = { tasks: [], streams: ["stdout", "stderr"], follow: true, positions: [] } as const
    const read = async (): Promise<string[]> => {
      const { records } = await leader.node!.mergedLog(run.id, query, { signal })
      const texts: string[] = []
      for await (const record of records) {
        if (record.type === "output") texts.push(Buffer.from(record.data).toString())
      }
      return texts
    }
    const texts = await world.clock.drive(read())
    expect(texts.join("").trim().split("\n").toSorted()).toEqual(
      [0, 1, 2, 3, 4, 5].map((index) => `job[${index}]`),
    )
  }
})
