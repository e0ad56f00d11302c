/** Where the nodes of a bench live: namespaces on a bridge, or loopback where those are refused. */
import { hasHosts, makeHosts } from "../e2e/hosts.ts"

export interface BenchHost {
  readonly enter: readonly string[]
  readonly startFlags: readonly string[]
  readonly api: string
  readonly cut: (() => void) | undefined
  heal(): void
}

export const onLoopback = !hasHosts

export interface PlaceOptions {
  /** Beside peers that live on loopback too. */
  readonly onLoopback?: boolean
}

export function makeBenchHosts(
  count: number,
  options: PlaceOptions = {},
): { hosts: readonly BenchHost[]; remove(): void } {
  return onLoopback || options.onLoopback === true ? loopback(count) : namespaces(count)
}

function namespaces(count: number): { hosts: readonly BenchHost[]; remove(): void } {
  const made = makeHosts(count)
  return {
    remove: () => made.remove(),
    hosts: made.hosts.map((host) => ({
      enter: host.enter,
      startFlags: ["--listen", host.address, "--api", `${host.address}:8770`, "--insecure"],
      api: `http://${host.address}:8770`,
      cut: () => host.cut(),
      heal: () => host.heal(),
    })),
  }
}

const meshBase = 27_771
const apiBase = 27_871
let used = 0

function loopback(count: number): { hosts: readonly BenchHost[]; remove(): void } {
  const first = used
  used += count
  const numbers = Array.from({ length: count }, (_, index) => first + index)
  return {
    remove: () => undefined,
    hosts: numbers.map((number) => {
      const others = numbers
        .filter((other) => other !== number)
        .map((other) => `127.0.0.1:${meshBase + other}`)
      const join = others.length > 0 ? ["--join", others.join(",")] : []
      const listen = ["--listen", `127.0.0.1:${meshBase + number}`]
      return {
        enter: [],
        startFlags: [...listen, "--api", `127.0.0.1:${apiBase + number}`, ...join],
        api: `http://127.0.0.1:${apiBase + number}`,
        cut: undefined,
        heal: () => undefined,
      }
    }),
  }
}
