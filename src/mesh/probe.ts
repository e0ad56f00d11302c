/** Tells a dead process from a broken connection: does anybody still listen there? */
import { connect } from "node:net"
import type { Clock } from "../platform/index.ts"
import { meshPeriods } from "./limits.ts"
import type { SocketAddress } from "./addresses.ts"

/** True only when the operating system of that host refused (ECONNREFUSED): never on a timeout or a reset. */
export async function isListenerGone(
  addresses: readonly SocketAddress[],
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  if (addresses.length === 0 || signal.aborted) return false
  const first = await probeAll(addresses, clock)
  if (first !== "accepted") return first === "refused"
  // A dying process closes its sockets one by one, perhaps the listener last: once more, a moment later.
  try {
    await clock.sleep(meshPeriods.probeAgainMs, { signal })
  } catch {
    // It has connected again or we stop; nothing is gone as far as anybody asks.
    return false
  }
  return (await probeAll(addresses, clock)) === "refused"
}

type Probe = "refused" | "accepted" | "unclear"

async function probeAll(addresses: readonly SocketAddress[], clock: Clock): Promise<Probe> {
  const results = await Promise.all(addresses.map((address) => probe(address, clock)))
  if (results.every((result) => result === "refused")) return "refused"
  return results.includes("accepted") ? "accepted" : "unclear"
}

function probe(address: SocketAddress, clock: Clock): Promise<Probe> {
  return new Promise((resolve) => {
    const socket = connect({ host: address.host, port: address.port })
    const settle = (result: Probe) => {
      timer.cancel()
      socket.destroy()
      resolve(result)
    }
    const timer = clock.after(meshPeriods.probeMs, () => settle("unclear"))
    socket.on("connect", () => settle("accepted"))
    socket.on("error", (error: NodeJS.ErrnoException) =>
      settle(error.code === "ECONNREFUSED" ? "refused" : "unclear"),
    )
  })
}
