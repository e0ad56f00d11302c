/** Hosts on one machine: network namespaces joined by a bridge that stands in a namespace of its own. As root, or as
 *  root of a user namespace (`unshare -Urnm`). Everything is removed by `close`, and named by our process id. */
import { execFile, execFileSync } from "node:child_process"
import { promisify } from "node:util"
import { TalkingProcess } from "./processes.ts"

const run = promisify(execFile)
const ip = (...args: string[]) => run("ip", args)

export interface Host {
  readonly name: string
  readonly address: string
  /** The command line that runs a program there. `nsenter`, since `ip netns exec` hides the cgroup tree. */
  command(program: string, args: readonly string[]): readonly [string, string[]]
  /** A program there that speaks JSON lines; ended by `close`. */
  start(program: string, args: readonly string[]): TalkingProcess
  /** Pulls its cable, and puts it back. */
  unplug(): Promise<void>
  plug(): Promise<void>
}

export interface Hosts {
  readonly hosts: readonly Host[]
  /** Nothing passes between the two groups any more; replaces the last partition. */
  partition(one: readonly Host[], other: readonly Host[]): Promise<void>
  /** Every cable in, no partition. */
  heal(): Promise<void>
  close(): Promise<void>
}

/** Why there can be no hosts here; undefined when there can. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== "linux") return "network namespaces need Linux"
  if (process.getuid?.() !== 0) return "network namespaces need root, or `unshare -Urnm`"
  const name = `troupe-${process.pid}-try`
  try {
    execFileSync("ip", ["netns", "add", name], { stdio: "pipe" })
    execFileSync("ip", ["netns", "del", name], { stdio: "pipe" })
    return undefined
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message.trim()}`
  }
}

let made = 0

/** N hosts 10.77.0.1 … on one bridge, with a default route: without one multicast goes nowhere. */
export async function makeHosts(count: number): Promise<Hosts> {
  // Interface names have at most 15 characters, so they are per namespace and need no prefix.
  const prefix = `troupe-${process.pid}-${++made}`
  const bridge = `${prefix}-bridge`
  const names: string[] = []
  const processes: TalkingProcess[] = []
  const close = async () => {
    for (const child of processes) await child.kill()
    // A process that ends in a namespace keeps it for a moment; its name can go at once.
    for (const name of names.splice(0).toReversed()) await ip("netns", "del", name)
  }
  const add = async (name: string) => {
    await ip("netns", "add", name)
    names.push(name)
    await ip("-n", name, "link", "set", "lo", "up")
  }
  try {
    await add(bridge)
    const quick = ["mcast_snooping", "0", "stp_state", "0", "forward_delay", "0"]
    await ip("-n", bridge, "link", "add", "br0", "type", "bridge", ...quick)
    await ip("-n", bridge, "link", "set", "br0", "up")
    await ip("-n", bridge, "addr", "add", "10.77.0.254/24", "dev", "br0")
    const hosts: Host[] = []
    for (let number = 1; number <= count; number++) {
      const name = `${prefix}-h${number}`
      await add(name)
      await wire({ bridge, name, number })
      hosts.push(hostOf({ bridge, name, number }, processes))
    }
    return { hosts, close, ...switchOf(bridge, hosts) }
  } catch (error) {
    await close()
    throw error
  }
}

interface Place {
  readonly bridge: string
  readonly name: string
  readonly number: number
}

async function wire({ bridge, name, number }: Place): Promise<void> {
  const at = ["-n", name]
  const port = `p${number}`
  const veth = ["type", "veth", "peer", "name", port, "netns", bridge]
  await ip(...at, "link", "add", "eth0", ...veth)
  await ip(...at, "addr", "add", `10.77.0.${number}/24`, "dev", "eth0")
  await ip(...at, "link", "set", "eth0", "up")
  await ip(...at, "route", "add", "default", "via", "10.77.0.254")
  await ip("-n", bridge, "link", "set", port, "master", "br0", "up")
}

function hostOf({ bridge, name, number }: Place, processes: TalkingProcess[]): Host {
  const command = (program: string, args: readonly string[]): readonly [string, string[]] => [
    "nsenter",
    [`--net=/run/netns/${name}`, program, ...args],
  ]
  const cable = async (state: "up" | "down") => {
    await ip("-n", bridge, "link", "set", `p${number}`, state)
  }
  return {
    name,
    address: `10.77.0.${number}`,
    command,
    start(program, args) {
      const child = new TalkingProcess(...command(program, args))
      processes.push(child)
      return child
    },
    unplug: () => cable("down"),
    plug: () => cable("up"),
  }
}

function switchOf(bridge: string, hosts: readonly Host[]): Pick<Hosts, "partition" | "heal"> {
  const nft = (...args: string[]) => run("nsenter", [`--net=/run/netns/${bridge}`, "nft", ...args])
  const drop = async () => {
    // Adding first makes deleting it right whether or not it was there.
    await nft("add table bridge part; delete table bridge part")
  }
  return {
    async partition(one, other) {
      await drop()
      const [a, b] = [one, other].map((side) =>
        side.map((host) => `"p${hosts.indexOf(host) + 1}"`).join(", "),
      )
      // The name `fwd` would be a keyword.
      const chain = "{ type filter hook forward priority 0 ; policy accept ; }"
      await nft(
        [
          "add table bridge part",
          `add chain bridge part between ${chain}`,
          `add rule bridge part between iifname { ${a} } oifname { ${b} } drop`,
          `add rule bridge part between iifname { ${b} } oifname { ${a} } drop`,
        ].join("\n"),
      )
    },
    async heal() {
      await drop()
      for (const host of hosts) await host.plug()
    },
  }
}
