/** Where work is not placed: at members that went a moment ago. */
import { expect, test } from "vitest"
import { runsOf } from "../../sim/cluster/verify.ts"
import { formCluster, submit } from "./formed.ts"

test.each([0, 1])(
  "work that comes right after a member's death goes elsewhere (follower %i)",
  async (place) => {
    const { world, leader } = await formCluster(3)
    const gone = world.machines.filter((machine) => machine !== leader)[place]!
    gone.kill()
    // Its connections break within a moment; its lease would hold for seconds.
    const brokenAt = world.clock.boottime() + 100
    await world.until("the break", 1000, () => world.clock.boottime() >= brokenAt)
    submit(world, leader, "one")
    const [run] = await world.until("the end", 60_000, () => {
      const runs = runsOf(leader)
      return runs[0]?.state === "finished" && runs
    })
    expect(run).toMatchObject({ verdict: "succeeded" })
  },
)
