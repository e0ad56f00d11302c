/** A second spawner: a child of the keeper that starts processes on order, so that more than one core can. */
import { type ChildProcess, fork } from "node:child_process"
import { Berth } from "./berth.ts"
import { type Cage, type Cgroups, openCgroups } from "./cgroups.ts"
import {
  type Exit,
  LocalSpawner,
  type Spawner,
  type SpawnOrder,
  type SpawnResult,
} from "./spawner.ts"

type Asked = { readonly id: number; readonly order: SpawnOrder }
type Told =
  | { readonly id: number; readonly result: SpawnResult }
  | { readonly id: number; readonly exit: Exit | undefined }

function tell(told: Told): void {
  process.send?.(told)
}

/** The child's side. It ends with its keeper: jobs that must die with the keeper then get their signal. */
export function serveSpawner(cage: Cage | undefined): void {
  const spawner = new LocalSpawner(cage && new Berth(openCgroups(cage)))
  process.on("message", ({ id, order }: Asked) => {
    void spawner.spawn(order, (exit) => tell({ id, exit })).then((result) => tell({ id, result }))
  })
  process.on("disconnect", () => process.exit(0))
}

interface Job {
  readonly exited: (exit: Exit | undefined) => void
  /** Undefined once it is answered. */
  answer: ((result: SpawnResult) => void) | undefined
  /** An end that came before the answer. */
  early: { readonly exit: Exit | undefined } | undefined
}

/** The keeper's side of one such child. */
export class RemoteSpawner implements Spawner {
  readonly #child: ChildProcess
  readonly #jobs = new Map<number, Job>()
  #id = 0
  #waiting = 0
  #up = false
  #gone = false

  constructor(program: string, cgroups: Cgroups | undefined, gone: () => void) {
    const cage = cgroups ? ["--cage", JSON.stringify(cgroups.cage)] : []
    this.#child = fork(program, ["--spawner", ...cage, "-"], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      detached: true,
    })
    const { pid } = this.#child
    // It is born where a job may be, and later waits for its own where they are born.
    if (pid !== undefined) cgroups?.staff.add(pid)
    this.#child.on("spawn", () => (this.#up = true))
    this.#child.on("message", (told: Told) => this.#take(told))
    const lost = () => {
      if (this.#gone) return
      this.#gone = true
      if (pid !== undefined) cgroups?.staff.delete(pid)
      gone()
      for (const job of this.#jobs.values()) lose(job)
      this.#jobs.clear()
    }
    this.#child.on("error", lost)
    this.#child.on("exit", lost)
  }

  /** Orders not yet answered. */
  get backlog(): number {
    return this.#up && !this.#gone ? this.#waiting : Number.POSITIVE_INFINITY
  }

  /** Jobs whose parent it is: with one of them it must stay. */
  get isIdle(): boolean {
    return this.#jobs.size === 0
  }

  spawn(order: SpawnOrder, exited: (exit: Exit | undefined) => void): Promise<SpawnResult> {
    return new Promise((answer) => {
      const id = ++this.#id
      this.#waiting++
      this.#jobs.set(id, { exited, answer, early: undefined })
      const asked: Asked = { id, order }
      // A failed send means that the child is gone; 'exit' or 'error' tells the rest.
      this.#child.send(asked, () => undefined)
    })
  }

  #take(told: Told): void {
    const job = this.#jobs.get(told.id)
    if (!job) return
    if ("result" in told) {
      this.#waiting--
      job.answer?.(told.result)
      job.answer = undefined
      if (!("process" in told.result)) this.#jobs.delete(told.id)
      if (job.early) this.#end(told.id, job, job.early.exit)
    } else if (job.answer) job.early = { exit: told.exit }
    else this.#end(told.id, job, told.exit)
  }

  #end(id: number, job: Job, exit: Exit | undefined): void {
    this.#jobs.delete(id)
    job.exited(exit)
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect()
  }
}

// Whoever could have known is dead: it may have been started, it may have ended.
function lose(job: Job): void {
  if (job.answer) job.answer({ lost: "its spawner died while it was started" })
  else job.exited(undefined)
}
