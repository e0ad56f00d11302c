/** Addresses: what users write, what is announced to others, and who answers at them. */
import { isIPv4, isIPv6 } from "node:net"
import { CODE_P2P, multiaddr, type Multiaddr } from "@multiformats/multiaddr"
import { TroupeError } from "../schema/index.ts"

const meshPort = 8771

export interface SocketAddress {
  readonly host: string
  readonly port: number
}

/** `10.0.0.1:8771`, `[::1]:8771`, `host`, `host:8771` or a multiaddr, as a multiaddr. ERR_CONFIG_INVALID. */
export function parseAddress(text: string): string {
  const trimmed = text.trim()
  if (trimmed.startsWith("/")) {
    try {
      const parsed = multiaddr(trimmed)
      if (socketOf(parsed.toString())) return parsed.toString()
    } catch {
      // Said below, in the words of the user's own address.
    }
    throw invalid(text)
  }
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s/]+))(?::(\d{1,5}))?$/.exec(trimmed)
  const host = match?.[1] ?? match?.[2] ?? (isIPv6(trimmed) ? trimmed : undefined)
  const port = match?.[3] === undefined ? meshPort : Number(match[3])
  if (host === undefined || port > 65_535) throw invalid(text)
  if (match?.[1] !== undefined && !isIPv6(host)) throw invalid(text)
  if (isIPv4(host)) return `/ip4/${host}/tcp/${port}`
  if (isIPv6(host)) return `/ip6/${host}/tcp/${port}`
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?$/.test(host)) throw invalid(text)
  return `/dns/${host}/tcp/${port}`
}

function invalid(text: string): TroupeError {
  const message = `${JSON.stringify(text)} is not an address: write host:port, e.g. 10.0.0.1:${meshPort}`
  return new TroupeError("ERR_CONFIG_INVALID", message, { issues: [{ path: "", message }] })
}

/** Host and port of a TCP multiaddr; undefined for any other kind. */
export function socketOf(address: string): SocketAddress | undefined {
  const match = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)(?:\/p2p\/[^/]+)?$/.exec(address)
  return match ? { host: match[1]!, port: Number(match[2]) } : undefined
}

/** An address without its `/p2p/…`, and the id that stood there. */
export function splitPeerId(address: string): { address: string; peerId: string | undefined } {
  const [rest, peerId] = address.split("/p2p/")
  return { address: rest!, peerId }
}

export function withoutPeerId(address: Multiaddr): string {
  return address.decapsulateCode(CODE_P2P).toString()
}

export function isLoopback(address: string): boolean {
  return /^\/ip4\/127\.|^\/ip6\/::1\/|^\/dns[46]?\/localhost\//.test(address)
}

/** What others may be told: no loopback unless that is all there is, no IPv6 link-local (it needs a zone). */
export function announced(addresses: Multiaddr[]): Multiaddr[] {
  const routable = addresses.filter((address) => !/^\/ip6\/fe[89ab]/i.test(address.toString()))
  const open = routable.filter((address) => !isLoopback(address.toString()))
  return open.length > 0 ? open : routable
}
