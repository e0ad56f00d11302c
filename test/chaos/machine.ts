/** A machine of the chaos run: a host, a disk and a wall clock of its own, on which one real node runs. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import type { Host } from "../e2e/hosts.ts"
import { faketimeLibrary } from "./tools.ts"

export interface MachineOptions {
  readonly name: string
  readonly host: Host
  /** Short: a socket's path has about a hundred characters. */
  readonly directory: string
  /** Logs that a failure keeps. */
  readonly logs: string
  /** The bundled `troupe`. */
  readonly program: string
  readonly hasOwnDisk: boolean
  readonly hasOwnClock: boolean
  /** More of them for `node start`. */
  readonly flags?: Readonly<Record<string, string>>
}

const diskBytes = 640 * 2 ** 20
/** Left free by a full disk. */
const crumbsBytes = 64 * 1024

export class Machine {
  readonly name: string
  readonly host: Host
  readonly data: string
  readonly api: string
  readonly #options: MachineOptions
  readonly #disk: string
  readonly #clockFile: string
  #child: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()
  #isExpected = false
  #isMounted = false
  #slow: ChildProcess | undefined
  #isPaused = false
  /** How processes ended that nobody had asked to. */
  readonly exits: { readonly code: number | undefined; readonly isFull: boolean }[] = []
  #wasFull = false

  constructor(options: MachineOptions) {
    const { name, host, directory } = options
    this.#options = options
    this.name = name
    this.host = host
    this.api = `http://${host.address}:8770`
    this.#disk = join(directory, name)
    this.data = join(this.#disk, "data")
    this.#clockFile = join(directory, `${name}.clock`)
    mkdirSync(this.#disk, { recursive: true })
    if (options.hasOwnDisk) this.#mount()
    this.setClock(0)
    this.#filter()
  }

  get running(): boolean {
    return this.#child !== undefined
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  start(): void {
    if (this.#child) return
    const { name, host, program, logs } = this.#options
    const flags = {
      name,
      data: this.data,
      listen: host.address,
      api: `${host.address}:8770`,
      "log-file": join(logs, `${name}.log`),
      "log-level": "debug",
      ...this.#options.flags,
    }
    const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
    const [command, ...enter] = host.enter
    const output = openSync(join(logs, `${name}.out`), "a")
    const child = spawn(
      command!,
      [...enter, process.execPath, program, "node", "start", "--insecure", ...words],
      { stdio: ["ignore", output, output], env: { ...process.env, ...this.#clockEnvironment() } },
    )
    closeSync(output)
    this.#child = child
    this.#isExpected = false
    this.#gone = new Promise((resolve) => {
      child.once("exit", (code) => {
        if (!this.#isExpected) this.exits.push({ code: code ?? undefined, isFull: this.#wasFull })
        if (this.#child === child) this.#child = undefined
        resolve()
      })
    })
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL")
  }

  /** Asked to leave: it hands over first. */
  async stop(): Promise<void> {
    this.resume()
    await this.#end("SIGTERM")
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#isExpected = true
    this.#isPaused = false
    this.#child?.kill(signal)
    await this.#gone
  }

  pause(): void {
    this.#isPaused = true
    this.#child?.kill("SIGSTOP")
  }

  resume(): void {
    this.#isPaused = false
    this.#child?.kill("SIGCONT")
  }

  /** The data directory is deleted, as of a machine that was installed anew. Only of one that does not run. */
  wipe(): void {
    this.endKeepers()
    rmSync(this.data, { recursive: true, force: true })
  }

  // ------------------------------------------------------------------ network

  #filter(): void {
    const rules = `table inet chaos {
  set deaf_to { type ipv4_addr; }
  chain input {
    type filter hook input priority 0;
    ip saddr @deaf_to drop
  }
}
`
    this.#nft(["-f", "-"], rules)
  }

  #nft(args: readonly string[], input = ""): void {
    const [command, ...enter] = this.host.enter
    execFileSync(command!, [...enter, "nft", ...args], { input, stdio: ["pipe", "ignore", "pipe"] })
  }

  /** Drops whatever these send from now on; nobody: hears everybody again. */
  deafTo(others: readonly Machine[]): void {
    this.#nft(["flush", "set", "inet", "chaos", "deaf_to"])
    if (others.length === 0) return
    const addresses = others.map(({ host }) => host.address).join(", ")
    this.#nft(["add", "element", "inet", "chaos", "deaf_to", `{ ${addresses} }`])
  }

  // ------------------------------------------------------------------ clock

  #clockEnvironment(): Record<string, string> {
    const library = faketimeLibrary()
    if (!this.#options.hasOwnClock || library === undefined) return {}
    return {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#clockFile,
      FAKETIME_CACHE_DURATION: "1",
      // Only the wall clock jumps; nothing that measures durations does.
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    }
  }

  setClock(seconds: number): void {
    writeFileSync(this.#clockFile, `${seconds < 0 ? "" : "+"}${seconds}\n`)
  }

  // ------------------------------------------------------------------ disk

  #mount(): void {
    const image = `${this.#disk}.img`
    writeFileSync(image, "")
    truncateSync(image, diskBytes)
    try {
      execFileSync("mkfs.ext4", ["-q", "-m", "0", image], { stdio: "ignore" })
      execFileSync("mount", ["-o", "loop", image, this.#disk], { stdio: "ignore" })
    } catch {
      // No loop devices, as in a user namespace: memory can be full too.
      const size = `size=${diskBytes}`
      execFileSync("mount", ["-t", "tmpfs", "-o", size, "tmpfs", this.#disk], { stdio: "ignore" })
    }
    this.#isMounted = true
  }

  fillDisk(): void {
    this.#wasFull = true
    const { bavail, bsize } = statfsSync(this.#disk)
    const free = bavail * bsize
    const bytes = Math.max(4096, free - crumbsBytes)
    execFileSync("fallocate", ["-l", String(bytes), join(this.#disk, "filler")], {
      stdio: "ignore",
    })
  }

  freeDisk(): void {
    rmSync(join(this.#disk, "filler"), { force: true })
  }

  /** Each sync of the log takes so much longer, until `fastDisk`. */
  slowDisk(ms: number): void {
    const thread = this.#logThread()
    if (thread === undefined || this.#slow) return
    const inject = `inject=fdatasync,fsync:delay_exit=${ms * 1000}`
    const child = spawn(
      "strace",
      ["-qq", "-p", thread, "-e", "trace=fdatasync,fsync", "-e", inject, "-o", "/dev/null"],
      { stdio: "ignore" },
    )
    this.#slow = child
    child.once("exit", () => {
      if (this.#slow === child) this.#slow = undefined
    })
  }

  fastDisk(): void {
    this.#slow?.kill("SIGINT")
  }

  /** The thread that writes the log, by its name. */
  #logThread(): string | undefined {
    const pid = this.#child?.pid
    if (pid === undefined) return undefined
    const tasks = `/proc/${pid}/task`
    try {
      return readdirSync(tasks).find((task) =>
        readFileSync(join(tasks, task, "comm"), "utf8").startsWith("wal"),
      )
    } catch {
      // It has ended meanwhile.
      return undefined
    }
  }

  // ------------------------------------------------------------------ end

  /** kill -9 of the keeper alone: what it has started is left to itself. */
  killKeeper(): void {
    for (const pid of this.#processes("troupe-keeper")) kill(pid)
  }

  /** Keepers outlive the node, and those of a wiped one have nobody else to end them. */
  endKeepers(): void {
    for (const pid of this.#processes("troupe-keeper", "troupe-spawner")) kill(pid)
  }

  /** Those of this name that work in our data directory. */
  #processes(...names: readonly string[]): number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const name = readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0.*$/su, "")
          return names.includes(name) && readlinkSync(`/proc/${pid}/cwd`).startsWith(this.data)
        } catch {
          // It has ended meanwhile.
          return false
        }
      })
      .map(Number)
  }

  remove(): void {
    this.fastDisk()
    this.endKeepers()
    if (!this.#isMounted || !existsSync(this.#disk)) return
    execFileSync("umount", ["-l", this.#disk], { stdio: "ignore" })
    this.#isMounted = false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has ended by itself.
  }
}
