/** Three hosts for the demo: network namespaces on a bridge, or plain loopback where those are refused. */
import { execFileSync } from "node:child_process"

export interface DemoHost {
  readonly name: string
  /** What stands before a command to run it on this host. */
  readonly enter: readonly string[]
  /** Flags of `troupe node start` here. */
  readonly startFlags: readonly string[]
  /** Where the command line asks. */
  readonly api: string
}

const names = ["ada", "bea", "cyd"]

/** Namespaces of this demo's own: nothing outside them is touched, and multicast stays on their bridge. */
export function makeHosts(mode: "hosts" | "loopback"): {
  hosts: DemoHost[]
  readonly remove: () => void
} {
  return mode === "hosts" ? namespaces() : loopback()
}

function loopback(): { hosts: DemoHost[]; readonly remove: () => void } {
  const hosts = names.map((name, index) => {
    const others = names.map((_, other) => other).filter((other) => other !== index)
    return {
      name,
      enter: [],
      startFlags: [
        "--listen",
        `127.0.0.1:${28771 + index}`,
        "--api",
        `127.0.0.1:${28781 + index}`,
        "--join",
        others.map((other) => `127.0.0.1:${28771 + other}`).join(","),
      ],
      api: `http://127.0.0.1:${28781 + index}`,
    }
  })
  return { hosts, remove: () => undefined }
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", [...args], { stdio: ["ignore", "ignore", "inherit"] })
}

function namespaces(): { hosts: DemoHost[]; readonly remove: () => void } {
  const prefix = `troupe-${process.pid}`
  const made: string[] = []
  const add = (name: string): void => {
    ip("netns", "add", name)
    made.push(name)
    ip("-n", name, "link", "set", "lo", "up")
  }
  const remove = (): void => {
    for (const name of made.splice(0).toReversed()) ip("netns", "del", name)
  }
  try {
    const bridge = `${prefix}-lan`
    add(bridge)
    ip("-n", bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    ip("-n", bridge, "link", "set", "br0", "up")
    const hosts = names.map((name, index) => {
      const space = `${prefix}-${name}`
      const address = `10.77.0.${index + 1}`
      add(space)
      ip(
        "link",
        "add",
        "eth0",
        "netns",
        space,
        "type",
        "veth",
        "peer",
        "name",
        name,
        "netns",
        bridge,
      )
      ip("-n", bridge, "link", "set", name, "master", "br0", "up")
      ip("-n", space, "addr", "add", `${address}/24`, "dev", "eth0")
      ip("-n", space, "link", "set", "eth0", "up")
      // Multicast leaves by the default route.
      ip("-n", space, "route", "add", "default", "dev", "eth0")
      return {
        name,
        enter: ["nsenter", `--net=/run/netns/${space}`],
        startFlags: ["--listen", address, "--insecure"],
        api: "http://127.0.0.1:8770",
      }
    })
    return { hosts, remove }
  } catch (error) {
    remove()
    throw error
  }
}
