/** Starts processes and learns how they end: whoever spawns is the parent, so only it can know the exit status. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, constants, openSync } from "node:fs"
import type { Berth } from "./berth.ts"
import { type ProcessId, readStat } from "./process-table.ts"

export interface SpawnOrder {
  readonly file: string
  readonly argv: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly stdout: string
  readonly stderr: string
}

export interface Spawned {
  readonly process: ProcessId
  /** Name of the cgroup that it was born in. */
  readonly cgroup?: string | undefined
}

export interface Exit {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
}

/** `problem`: it was not started. `lost`: whether it was is not known. */
export type SpawnResult = Spawned | { readonly problem: string } | { readonly lost: string }

export interface Spawner {
  /** Never rejects. `exited` comes once, after the answer; with undefined when the parent died before the job, so that
   *  nobody will learn its status. */
  spawn(order: SpawnOrder, exited: (exit: Exit | undefined) => void): Promise<SpawnResult>
}

interface Queued {
  readonly order: SpawnOrder
  readonly exited: (exit: Exit) => void
  readonly answer: (result: SpawnResult) => void
}

/** Spawns in this process. A spawn holds the loop for about a millisecond: one a turn, so that exits and requests
 *  are seen between them. */
export class LocalSpawner implements Spawner {
  readonly #berth: Berth | undefined
  readonly #queue: Queued[] = []
  #scheduled = false

  constructor(berth: Berth | undefined) {
    this.#berth = berth
  }

  /** Orders that wait. */
  get backlog(): number {
    return this.#queue.length
  }

  spawn(order: SpawnOrder, exited: (exit: Exit) => void): Promise<SpawnResult> {
    return new Promise((answer) => {
      this.#queue.push({ order, exited, answer })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#queue.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      if (!this.#berth || this.#berth.name !== undefined) this.#turn()
      else void this.#berth.renewed().then(() => this.#turn())
    })
  }

  #turn(): void {
    this.#scheduled = false
    const next = this.#queue.shift()
    if (next) this.#start(next)
    this.#schedule()
  }

  #start({ order, exited, answer }: Queued): void {
    const cgroup = this.#berth?.name
    // In the cgroup of another job it would die with that job.
    if (this.#berth && cgroup === undefined) return answer({ problem: this.#berth.problem })
    let child: ChildProcess
    try {
      child = spawnDetached(order)
    } catch (error) {
      return answer({ problem: problemOf(error as NodeJS.ErrnoException, order) })
    }
    const { pid } = child
    if (pid === undefined) {
      child.once("error", (error) => answer({ problem: problemOf(error, order) }))
      return
    }
    this.#berth?.taken()
    // A child that has ended is not reaped before this turn of the loop is over: its entry is still there.
    const ticks = readStat(pid)?.ticks ?? ""
    child.once("exit", (code, signal) =>
      exited({ exitCode: code ?? undefined, signal: signal ?? undefined }),
    )
    // After a successful spawn it only says that a signal could not be sent through it, which nobody does.
    child.on("error", () => undefined)
    answer({ process: { pid, ticks }, cgroup })
  }
}

const appendFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_TRUNC

function spawnDetached(order: SpawnOrder): ChildProcess {
  const opened: number[] = []
  try {
    for (const path of [order.stdout, order.stderr]) opened.push(openSync(path, appendFlags, 0o600))
    const [program, ...args] = order.argv
    return spawn(order.file, args, {
      argv0: program,
      cwd: order.cwd,
      env: order.env,
      stdio: ["ignore", ...opened],
      // A session of its own: no terminal, no signals meant for the keeper.
      detached: true,
    })
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}

function problemOf(error: NodeJS.ErrnoException, { file }: SpawnOrder): string {
  const code = error.code ?? ""
  return problems[code]?.(file) ?? `${file} cannot be started: ${error.message}`
}

const problems: Readonly<Record<string, (file: string) => string>> = {
  ENOENT: (file) => `${file} cannot be run: the interpreter that it names does not exist`,
  EACCES: (file) => `${file} cannot be run: permission denied`,
  ENOEXEC: (file) => `${file} is no program that this host can run`,
  E2BIG: () => "the arguments and environment are longer than this host allows",
  EAGAIN: () => "this host refuses another process (EAGAIN)",
  ENOMEM: () => "this host has no memory for another process",
}
