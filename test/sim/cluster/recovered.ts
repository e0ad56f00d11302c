/** `cluster recover` on a simulated machine that is stopped. */
import { type Logger, silentLogger } from "../../../src/platform/index.ts"
import { inspectReplica, writeIncarnation } from "../../../src/node/index.ts"
import { createFakeStorage } from "../../support/fake-storage.ts"
import type { Machine } from "./machine.ts"
import type { World } from "./world.ts"

/** Answers the new cluster id. `mark`: eight hex digits, by which two recoveries differ. */
export async function recoverMachine(
  world: World,
  machine: Machine,
  mark = "0000000a",
): Promise<string> {
  return await world.clock.drive(recover(machine, mark, silentLogger))
}

async function recover(machine: Machine, mark: string, logger: Logger): Promise<string> {
  if (machine.running) throw new Error("a running node is not recovered")
  const storage = createFakeStorage(machine.disk)
  const { identity } = await storage.identity.open()
  const inspected = await inspectReplica(identity!, { ...storage, logger })
  await storage.log.close()
  await storage.tables.close()
  // The order in which real files are changed, and crashes between, are tested with real files.
  await storage.identity.archive(identity!.clusterId)
  const next = await writeIncarnation(identity!, inspected, {
    stores: createFakeStorage(machine.disk),
    mark,
  })
  await storage.identity.write(next)
  return next.clusterId
}
