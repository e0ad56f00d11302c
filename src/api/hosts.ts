/** Which Host headers are answered: a web page that rebinds its own name to our address must not reach the API. */
import { isIP } from "node:net"
import { hostname } from "node:os"

export interface HostRule {
  /** The address that the API listens on. */
  readonly listen: string
  /** Further names, from the configuration. */
  readonly allowed: readonly string[]
  /** This node's own name. */
  readonly node: string
}

/** True when a request with this Host header may be answered. HTTP/1.0 has none, and no browser speaks it. */
export function isHostAllowed(header: string | undefined, rule: HostRule): boolean {
  if (header === undefined) return true
  const host = hostOf(header)
  if (host === undefined) return false
  if (isLoopback(host) || rule.allowed.some((name) => name.toLowerCase() === host)) return true
  if (isLoopback(rule.listen)) return false
  return isIP(host) !== 0 || ownNames(rule.node).includes(host)
}

/** 127/8, ::1 and the names that browsers themselves pin to loopback (RFC 6761 §6.3). */
function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith("127.")
  if (isIP(host) === 6) return host === "::1" || /^::ffff:127\./i.test(host)
  const name = host.toLowerCase()
  return name === "localhost" || name.endsWith(".localhost")
}

/** The host of `name:port`, `1.2.3.4` or `[::1]:8770`, lower case; undefined when it is none of these. */
function hostOf(header: string): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/.exec(header)
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, "")
}

function ownNames(node: string): readonly string[] {
  const full = hostname().toLowerCase()
  const short = full.split(".")[0]!
  return [full, short, `${short}.local`, node.toLowerCase()]
}
