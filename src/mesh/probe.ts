/** Tells a dead process from a broken connection: does anybody still listen there? */
import { connect } from "node:net"
import type { Clock } from "../platform/index.ts"
import type { SocketAddress } from "./addresses.ts"
import { meshPeriods } from "./limits.ts"

/** `dropped`: accepted, and closed again at once: so does a process that is just dying, its listener last. */
type Probe = "refused" | "accepted" | "dropped" | "unclear"

/** True only when the operating system of that host refused (ECONNREFUSED): never on a timeout or a reset. */
export async function isListenerGone(
  addresses: readonly SocketAddress[],
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  if (addresses.length === 0) return false
  const end = clock.boottime() + meshPeriods.probeMs
  while (!signal.aborted) {
    const probes = addresses.map((address) => probe(address, clock, signal))
    const results = await Promise.all(probes)
    if (results.every((result) => result === "refused")) return true
    if (!results.includes("dropped") || clock.boottime() > end) return false
    await clock.sleep(meshPeriods.probeAgainMs)
  }
  return false
}

function probe(address: SocketAddress, clock: Clock, signal: AbortSignal): Promise<Probe> {
  return new Promise((resolve) => {
    const socket = connect({ host: address.host, port: address.port })
    let result: Probe = "unclear"
    const settle = () => {
      timer.cancel()
      signal.removeEventListener("abort", settle)
      socket.destroy()
      resolve(result)
    }
    let timer = clock.after(meshPeriods.probeMs, settle)
    signal.addEventListener("abort", settle, { once: true })
    socket.on("connect", () => {
      result = "accepted"
      timer.cancel()
      timer = clock.after(meshPeriods.probeHoldMs, settle)
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (result !== "unclear") return
      if (error.code === "ECONNREFUSED") result = "refused"
      if (error.code === "ECONNRESET") result = "dropped"
    })
    socket.on("close", () => {
      if (result === "accepted") result = "dropped"
      settle()
    })
    // The end of the stream is seen only by who reads.
    socket.resume()
  })
}
