/** Hosts for end-to-end tests: network namespaces on a bridge in this process's own namespace (scripts/netns). */
import { execFileSync } from "node:child_process"

export interface Host {
  readonly name: string
  readonly address: string
  /** What stands before a command to run it on this host. */
  readonly enter: readonly string[]
  /** Off the network: the link is down at the switch, as when a cable is pulled. */
  cut(): void
  heal(): void
}

/** Whether this process may make hosts; tests skip otherwise. */
export const hasHosts = process.env["TROUPE_OWN_NETWORK"] === "1"

function ip(...args: readonly string[]): void {
  execFileSync("ip", [...args], { stdio: ["ignore", "ignore", "pipe"] })
}

// Test files follow each other as processes, and the kernel clears a namespace away at leisure: names are not used again.
let made = process.pid % 200

/** `count` hosts 10.77.<net>.1… that see each other, multicast included; this process reaches them too. */
export function makeHosts(count: number): { hosts: readonly Host[]; readonly remove: () => void } {
  const net = ++made
  const bridge = `br${net}`
  ip(
    "link",
    "add",
    bridge,
    "type",
    "bridge",
    "mcast_snooping",
    "0",
    "stp_state",
    "0",
    "forward_delay",
    "0",
  )
  ip("addr", "add", `10.77.${net}.254/24`, "dev", bridge)
  ip("link", "set", bridge, "up")
  const hosts = Array.from({ length: count }, (_, index): Host => {
    const name = `h${net}n${index + 1}`
    const port = `p${net}n${index + 1}`
    const address = `10.77.${net}.${index + 1}`
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", port)
    ip("link", "set", port, "master", bridge, "up")
    ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0")
    ip("-n", name, "link", "set", "eth0", "up")
    ip("-n", name, "route", "add", "default", "dev", "eth0")
    return {
      name,
      address,
      enter: ["nsenter", `--net=/run/netns/${name}`],
      cut: () => ip("link", "set", port, "down"),
      heal: () => ip("link", "set", port, "up"),
    }
  })
  const remove = (): void => {
    for (const host of hosts) ip("netns", "del", host.name)
    ip("link", "del", bridge)
  }
  return { hosts, remove }
}
