/** `troupe node stop`: ends the node of a data directory, and no other process. */
import { loadConfig } from "../../config/index.ts"
import { TroupeError } from "../../schema/index.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { findOwner, isAlive } from "../pid-file.ts"
import type { Session } from "../session.ts"

interface Options {
  readonly data?: string
  readonly cluster?: string
  readonly config?: string
  readonly timeout: number
}

const pollMs = 50

export async function nodeStop(session: Session, options: Options): Promise<number> {
  const { terminal, clock } = session
  const { data, cluster, config: file } = options
  const { config } = loadConfig({
    flags: { ...(data !== undefined && { data }), ...(cluster !== undefined && { cluster }) },
    ...(file !== undefined && { file }),
  })
  const owner = await findOwner(config.data)
  if (owner === undefined) {
    throw new UsageError(
      `no node is running in ${config.data}`,
      "name another directory with --data, or another cluster with --cluster",
    )
  }
  terminal.tell(`stopping the node in ${config.data} (process ${owner.pid})`)
  process.kill(owner.pid, "SIGTERM")
  const until = clock.boottime() + options.timeout
  while (await isAlive(owner)) {
    if (clock.boottime() > until) {
      const what = `stopping the node (process ${owner.pid})`
      const message = `the node is still handing over after ${options.timeout} ms (process ${owner.pid})`
      throw new TroupeError("ERR_TIMEOUT", message, { what, afterMs: options.timeout })
    }
    await clock.sleep(pollMs)
  }
  terminal.tell("stopped; its jobs go on until they end")
  return exitCodes.ok
}
