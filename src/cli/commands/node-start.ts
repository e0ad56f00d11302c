/** `troupe node start`: the only command that loads the node itself. */
import { setFlagsFromString } from "node:v8"
import {
  type Config,
  build,
  formatAddress,
  type Flags,
  isLoopback,
  loadConfig,
} from "../../config/index.ts"
import { exitCodes } from "../exit.ts"
import { claim, release } from "../pid-file.ts"
import type { Session } from "../session.ts"
import type { Terminal } from "../terminal.ts"

/** What commander collects: the settings by name, but `--label` repeats and so is in the singular. */
type Options = Omit<Flags, "labels"> & {
  readonly config?: string
  readonly label?: readonly string[]
}

const brokenInvariant = 70
const exitAfterSignal = { SIGINT: exitCodes.cancelled, SIGTERM: 143 } as const

export async function nodeStart(session: Session, options: Options): Promise<number> {
  const { terminal } = session
  const { config: file, label, mdns, ...rest } = options
  const flags: Flags = {
    ...rest,
    ...(label && { labels: label }),
    // There is only --no-mdns: true is the parser's word for "not said".
    ...(mdns === false && { mdns }),
  }
  const { config, warnings } = loadConfig({ flags, ...(file !== undefined && { file }) })
  for (const warning of warnings) terminal.tell(`warning: ${warning}`)
  await claim(config.data)
  try {
    return await runNode(terminal, config)
  } finally {
    release(config.data)
  }
}

async function runNode(terminal: Terminal, config: Config): Promise<number> {
  let stop: ((reason: string) => Promise<void>) | undefined
  let stopping: NodeJS.Signals | undefined
  const onSignal = (signal: "SIGINT" | "SIGTERM") => {
    if (stopping !== undefined) {
      terminal.tell("stopping at once")
      release(config.data)
      process.exit(exitAfterSignal[signal])
    }
    stopping = signal
    terminal.tell("stopping: handing over (once more to stop at once)")
    stop?.(signal).catch(fail)
  }
  // Our own faults: better no node than one that goes on with a broken invariant. Its jobs live on in the keeper.
  const fail = (error: unknown) => {
    terminal.tell(error instanceof Error ? (error.stack ?? error.message) : String(error))
    release(config.data)
    process.exit(brokenInvariant)
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("uncaughtException", fail)
  process.on("unhandledRejection", fail)

  const { startNode } = await import("../../assembly/index.ts")
  const node = await startNode(config)
  // As large as the start has made it, V8's young generation serves a busy node too. Left alone it grows to three times
  // 32 MB under load and never shrinks. Only a command line could name its size, and nobody but us sees to ours.
  setFlagsFromString("--semi-space-growth-factor=1")
  stop = (reason) => node.stop(reason)
  terminal.tell(banner(terminal, config, node))
  // Asked to stop while it was starting.
  if (stopping !== undefined) stop(stopping).catch(fail)
  return node.done
}

function banner(
  terminal: Terminal,
  config: Config,
  node: { name: string; peerId: string; apiUrl: string; addresses: readonly string[] },
): string {
  const { paintError: paint } = terminal
  const reach = config.mdns && !isLoopback(config.listen.host) ? "multicast" : "no multicast"
  const seeds = config.join.length === 0 ? "nobody named to join" : `joins ${config.join.join(" ")}`
  const lines: (readonly [string, string])[] = [
    ["peer id", node.peerId],
    ["cluster", config.cluster],
    ["mesh", node.addresses.join(" ") || formatAddress(config.listen)],
    ["discovery", `${reach}, ${seeds}`],
    ["api", node.apiUrl],
    ["data", config.data],
  ]
  const text = [
    `${paint("bold", `troupe ${build.version}`)}: node ${paint("bold", node.name)} is up`,
    ...lines.map(([name, value]) => `  ${name.padEnd(9)}  ${value}`),
  ]
  if (config.insecure) {
    const warning = "--insecure: whoever reaches these addresses can run programs on this machine"
    text.push(paint("yellow", `  warning    ${warning}`))
  }
  return text.join("\n")
}
