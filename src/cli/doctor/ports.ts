/** Whether the node's two ports are free, and who has them otherwise. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { Address } from "../../config/index.ts"
import { fail, type Finding, ok } from "./finding.ts"

export interface Wanted {
  /** Setting that names it. */
  readonly flag: "--listen" | "--api"
  readonly what: string
  readonly address: Address
}

export interface Listener {
  /** As the kernel prints it, `00000000` or `0100007F`. */
  readonly host: string
  readonly port: number
  readonly inode: string
}

const listening = "0A"

/** Of /proc/net/tcp and tcp6. */
export function parseListeners(text: string): Listener[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    const [, local = "", , state] = fields
    const [host = "", port = ""] = local.split(":")
    const inode = fields[9]
    if (state !== listening || inode === undefined) return []
    return [{ host, port: Number.parseInt(port, 16), inode }]
  })
}

/** `owner`: the process of the node that runs in the data directory. */
export function checkPorts(wanted: readonly Wanted[], owner: number | undefined): Finding[] {
  if (process.platform !== "linux") return []
  const listeners = ["tcp", "tcp6"].flatMap((name) => parseListeners(readNet(name)))
  return wanted.map((one) => checkPort(one, listeners, owner))
}

function checkPort(
  { flag, what, address }: Wanted,
  listeners: readonly Listener[],
  owner: number | undefined,
): Finding {
  const check = `${what} port`
  const { host, port } = address
  if (port === 0) return ok(check, "any free one")
  const found = listeners.find((one) => one.port === port && meets(one.host, host))
  if (!found) return ok(check, `${port} is free`)
  const pid = holderOf(found.inode)
  if (pid !== undefined && pid === owner) return ok(check, `${port} is this node's`)
  const whose = pid === undefined ? "a process of another user" : `process ${pid} (${nameOf(pid)})`
  return fail(check, `${port} is taken by ${whose}`, `stop it, or give another one with ${flag}`)
}

/** Whether a listener there stands in the way of one here: the same address, or one of them takes all. */
export function meets(listener: string, host: string): boolean {
  if (/^0+$/.test(listener) || host === "0.0.0.0" || host === "::") return true
  return listener === kernelText(host)
}

/** An IPv4 address as the kernel prints it (little-endian words); of v6 only loopback is told apart. */
function kernelText(host: string): string {
  if (host === "::1") return "00000000000000000000000001000000"
  return host
    .split(".")
    .map((part) => Number(part).toString(16).padStart(2, "0").toUpperCase())
    .toReversed()
    .join("")
}

function readNet(name: string): string {
  try {
    return readFileSync(`/proc/net/${name}`, "latin1")
  } catch {
    // A kernel without IPv6.
    return ""
  }
}

function holderOf(inode: string): number | undefined {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    try {
      for (const descriptor of readdirSync(`/proc/${name}/fd`)) {
        if (readlinkSync(`/proc/${name}/fd/${descriptor}`) === `socket:[${inode}]`) {
          return Number(name)
        }
      }
    } catch {
      // Gone meanwhile, or of another user.
    }
  }
  return undefined
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0", 2).join(" ").trim() || "?"
  } catch {
    // Gone meanwhile.
    return "gone meanwhile"
  }
}
