/** One job that runs: readiness, deadline, output cap, stopping its whole tree, and its end. */
import { readFileSync } from "node:fs"
import type { Timer } from "../platform/index.ts"
import type { Ending } from "../schema/index.ts"
import type { LaunchSpec } from "../wire/index.ts"
import { realCgroups } from "./cgroup-files.ts"
import type { Cgroups } from "./cgroups.ts"
import type { KeeperClock, KeeperLog } from "./clock.ts"
import { launcherExit, type LimitHits, readHits } from "./limits.ts"
import { hitsText, notStarted, seenEnding, type Stop, unseenEnding, withNotes } from "./outcome.ts"
import { OutputWatch } from "./output-watch.ts"
import type { AttemptFiles } from "./paths.ts"
import { isAlive, type ProcessId } from "./process-table.ts"
import { cutOffText, selfStopGraceMs, type Tenure } from "./tenure.ts"
import { type ReadinessWatch, watchReadiness } from "./readiness.ts"
import type { Exit } from "./spawner.ts"
import {
  killTree,
  looksEmpty,
  removeCgroups,
  signalAll,
  ticksNow,
  type Tree,
  treeMembers,
} from "./tree.ts"

export interface JobOrder {
  readonly spec: LaunchSpec
  readonly files: AttemptFiles
  readonly nonce: string
  readonly process: ProcessId
  readonly startedAt: number
  readonly readyAt?: number | undefined
  readonly cgroup: string | undefined
  /** Cgroups that hold it to its limits. */
  readonly limited: readonly string[]
  /** Found again after a restart of the keeper: its exit will be noticed, its status not. */
  readonly adopted: boolean
}

export interface JobParts {
  readonly clock: KeeperClock
  readonly cgroups: Cgroups | undefined
  readonly tenure: Tenure
  readonly ready: (at: number) => void
  readonly stopping: (stop: Stop) => void
  readonly ended: (ending: Ending) => void
  readonly log: KeeperLog
}

const settlePollMs = 50
const killAgainMs = 200
/** Deadlines nearer than this get a timer of their own. */
const preciseMs = 60_000
/** Rounds of KILL after which it is said that something does not die. */
const killRoundsSaid = 25

export class Job {
  readonly #order: JobOrder
  readonly #parts: JobParts
  #tree: Tree
  #readiness: ReadinessWatch | undefined
  #deadline: Timer | undefined
  #deadlineAt: number | undefined
  #next: Timer | undefined
  #stop: Stop | undefined
  /** By the boot-time clock; set while its tree is being ended. */
  #killAt: number | undefined
  #exit: { readonly exit: Exit | undefined; readonly at: number } | undefined
  /** Read at the end of its own process: the cgroups that tell of it go soon. */
  #hits: LimitHits | undefined
  #over = false
  /** Its end will be noticed by looking. */
  #isOrphan: boolean
  #killRounds = 0
  /** Boot-time clock. */
  readonly #since: number
  #isCutOff = false
  readonly #output: OutputWatch

  constructor(order: JobOrder, parts: JobParts) {
    this.#order = order
    this.#parts = parts
    this.#output = new OutputWatch(order, parts)
    this.#isOrphan = order.adopted
    this.#since = parts.clock.boottime()
    const { process: leader, nonce, cgroup, limited } = order
    this.#tree = { leader, nonce, cgroup, limited, sessionEndTicks: undefined }
  }

  start(): void {
    const { spec, files, startedAt, readyAt } = this.#order
    const { clock } = this.#parts
    if (spec.deadlineMs !== undefined) {
      const left = Math.max(0, startedAt + spec.deadlineMs - clock.now())
      this.#deadlineAt = clock.boottime() + left
      // Timers stand still while the machine sleeps: `watch` sees to the rest.
      if (left < preciseMs) this.#deadline = clock.after(left, () => this.#endAtDeadline())
    }
    if (spec.readiness && readyAt === undefined) {
      this.#readiness = watchReadiness(spec.readiness, {
        clock,
        stdout: files.stdout,
        ready: () => this.#parts.ready(clock.now()),
        failed: (reason) => this.#stopItself(reason),
      })
    }
  }

  #endAtDeadline(): void {
    if (this.#stop || this.#exit) return
    this.#stopItself(`deadline of ${(this.#order.spec.deadlineMs ?? 0) / 1000} s reached`)
  }

  /** Its node may have been cut off for so long that it is started elsewhere: what goes on here would be a second one. */
  #endWhenCutOff(): void {
    const { selfStopMs, graceMs } = this.#order.spec
    if (selfStopMs === undefined || this.#isCutOff || this.#over) return
    if (!this.#parts.tenure.isOver(selfStopMs, this.#since)) return
    this.#isCutOff = true
    this.stop({
      at: this.#parts.clock.now(),
      graceMs: Math.min(graceMs, selfStopGraceMs),
      reason: cutOffText(selfStopMs),
      isLoss: true,
    })
  }

  #stopItself(reason: string): void {
    this.stop({ at: this.#parts.clock.now(), graceMs: this.#order.spec.graceMs, reason })
  }

  /** TERM to the tree, KILL after the grace. A second call can only shorten the grace. */
  stop(stop: Stop): void {
    if (this.#over) return
    const killAt = this.#parts.clock.boottime() + stop.graceMs
    if (this.#stop) {
      this.#killAt = Math.min(this.#killAt ?? killAt, killAt)
      this.#continue(0)
      return
    }
    // Already dead by itself, only leftovers run: the ending stays its own.
    if (!this.#exit) {
      this.#stop = stop
      this.#parts.stopping(stop)
    }
    this.#killAt = Math.min(this.#killAt ?? killAt, killAt)
    this.#readiness?.cancel()
    this.#terminate()
    this.#continue(settlePollMs)
  }

  #terminate(): void {
    const members = treeMembers(this.#tree, this.#parts.cgroups)
    signalAll(members, "SIGTERM")
    // A stopped process takes its TERM only when it goes on.
    signalAll(members, "SIGCONT")
  }

  /** Its parent is gone, nobody will learn its exit status. */
  orphaned(): void {
    this.#isOrphan = true
    this.watch()
    if (this.#stop && !this.#over) this.#continue(0)
  }

  /** The parent saw the job's own process end; `undefined` when only its absence was noticed. */
  exited(exit: Exit | undefined): void {
    if (this.#exit || this.#over) return
    const { clock, cgroups } = this.#parts
    this.#exit = { exit, at: clock.now() }
    this.#hits = readHits(this.#order.limited, realCgroups)
    this.#readiness?.cancel()
    this.#deadline?.cancel()
    if (!this.#stop && looksEmpty(this.#tree, cgroups)) return this.#finish()
    this.#tree = { ...this.#tree, sessionEndTicks: ticksNow() }
    if (this.#killAt === undefined && !this.#isEmpty()) {
      // What it left behind is ended as if the task had been stopped: a finished task leaves nothing running.
      this.#killAt = clock.boottime() + this.#order.spec.graceMs
      this.#terminate()
    }
    this.#continue(0)
  }

  #continue(ms: number): void {
    this.#next?.cancel()
    this.#next = this.#parts.clock.after(ms, () => this.#settle())
  }

  /** One step towards the tree's end. */
  #settle(): void {
    if (this.#over) return
    if (this.#isOrphan && !this.#exit && !isAlive(this.#tree.leader)) {
      return this.exited(undefined)
    }
    if (this.#exit && this.#isEmpty()) return this.#finish()
    const due = this.#killAt !== undefined && this.#parts.clock.boottime() >= this.#killAt
    if (due) this.#kill()
    this.#continue(due ? killAgainMs : this.#exit ? settlePollMs : this.#untilKill())
  }

  #untilKill(): number {
    const left = (this.#killAt ?? 0) - this.#parts.clock.boottime()
    return this.#isOrphan ? settlePollMs : Math.min(Math.max(left, 0), 60_000)
  }

  #kill(): void {
    const { cgroups, log } = this.#parts
    const members = killTree(this.#tree, cgroups)
    // Stuck in the kernel, or of a user whom this keeper may not signal.
    if (++this.#killRounds === killRoundsSaid) {
      const { run, task, fence } = this.#order.spec
      log("processes do not die", { run, task, fence, pids: members.map(({ pid }) => pid) })
    }
  }

  #isEmpty(): boolean {
    const { cgroups } = this.#parts
    if (treeMembers(this.#tree, cgroups).length > 0) return false
    return removeCgroups(this.#tree, cgroups)
  }

  #finish(): void {
    this.#over = true
    this.#next?.cancel()
    const unmarked = this.#output.finish()
    const { exit, at: endedAt } = this.#exit!
    const { spec, startedAt } = this.#order
    const times = { startedAt, endedAt }
    const refusal = exit?.exitCode === launcherExit ? this.#launcherRefusal() : undefined
    if (refusal !== undefined) return this.#parts.ended(notStarted(refusal, endedAt))
    const ending = exit ? seenEnding(exit, this.#stop, times) : unseenEnding(this.#stop, times)
    this.#parts.ended(
      withNotes(ending, [...hitsText(ending, this.#hits, spec.limits), ...unmarked]),
    )
  }

  #launcherRefusal(): string | undefined {
    const { spec, files, nonce } = this.#order
    if (!spec.limits) return undefined
    const said = readFileSync(files.stderr, "utf8")
    const at = said.indexOf(`${nonce} `)
    return at < 0
      ? undefined
      : `its limits cannot be set: ${said.slice(at + nonce.length + 1).trim()}`
  }

  /** Called a few times a second while it runs. */
  watch(): void {
    const due = this.#deadlineAt !== undefined && this.#parts.clock.boottime() >= this.#deadlineAt
    if (due) this.#endAtDeadline()
    this.#endWhenCutOff()
    this.#output.look()
    if (this.#isOrphan && !this.#over && !isAlive(this.#tree.leader)) this.exited(undefined)
  }
}
