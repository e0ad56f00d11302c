/** Addresses as people write them: where to listen (`ADDR[:PORT]`) and whom to join (also host names and multiaddrs). */
import * as z from "zod"

/** Where to listen. IPv6 hosts stand without brackets. Port 0 lets the system choose. */
export interface Address {
  readonly host: string
  readonly port: number
}

const multiaddrPattern =
  /^\/(ip4|ip6|dns|dns4|dns6)\/[^/\s]+\/tcp\/([1-9][0-9]{0,4})(\/p2p\/[A-Za-z0-9]{20,80})?$/
const hostNamePattern =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?$/
const portMax = 65_535

/** `10.0.0.5`, `10.0.0.5:8771`, `::1`, `[::1]:8771`, `localhost`; undefined when it is none of them. */
export function parseAddress(text: string, defaultPort: number): Address | undefined {
  const { host, port } = splitPort(text.trim(), defaultPort)
  if (port === undefined) return undefined
  if (host === "localhost") return { host: "127.0.0.1", port }
  return isIpv4(host) || isIpv6(host) ? { host, port } : undefined
}

/** A peer to join, as a multiaddr: `10.0.0.5` → `/ip4/10.0.0.5/tcp/8771`. Undefined when it cannot be read. */
export function parsePeerAddress(text: string, defaultPort: number): string | undefined {
  const trimmed = text.trim()
  if (trimmed.startsWith("/")) {
    const match = multiaddrPattern.exec(trimmed)
    return match && Number(match[2]) <= portMax ? trimmed : undefined
  }
  const { host, port } = splitPort(trimmed, defaultPort)
  if (port === undefined || port === 0) return undefined
  if (isIpv4(host)) return `/ip4/${host}/tcp/${port}`
  if (isIpv6(host)) return `/ip6/${host}/tcp/${port}`
  // Four numbers that are no IPv4 address are a slip, not a host name.
  if (/^[0-9.]+$/.test(host)) return undefined
  return hostNamePattern.test(host) ? `/dns/${host}/tcp/${port}` : undefined
}

/** Reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return /^(::ffff:)?127\./i.test(host) || host === "::1"
}

/** `127.0.0.1:8770`, `[::1]:8770`. */
export function formatAddress(address: Address): string {
  const host = address.host.includes(":") ? `[${address.host}]` : address.host
  return `${host}:${address.port}`
}

function splitPort(text: string, defaultPort: number): { host: string; port: number | undefined } {
  if (isIpv6(text)) return { host: text, port: defaultPort }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]{1,5}))?$/.exec(text)
  if (!match) return { host: text, port: undefined }
  const bracketed = match[1]
  const host = bracketed ?? match[2] ?? ""
  const port = match[3] === undefined ? defaultPort : Number(match[3])
  if (port > portMax || (bracketed !== undefined && !isIpv6(bracketed))) {
    return { host, port: undefined }
  }
  return { host, port }
}

function isIpv4(text: string): boolean {
  return z.ipv4().safeParse(text).success
}

function isIpv6(text: string): boolean {
  return z.ipv6().safeParse(text).success
}
