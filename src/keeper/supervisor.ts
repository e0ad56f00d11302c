/** All attempts of one data directory: orders checked and journalled before anything starts, endings before they are told. */
import { randomBytes } from "node:crypto"
import type { Timer } from "../platform/index.ts"
import type { KeeperAttempt, LaunchSpec } from "../wire/index.ts"
import { type Attempt, attemptKey, attemptsMax, type Book, taskKey } from "./book.ts"
import type { Cgroups } from "./cgroups.ts"
import type { KeeperClock, KeeperLog } from "./clock.ts"
import { Job } from "./job.ts"
import type { Journal, JournalRecord } from "./journal.ts"
import type { LimitedCgroups } from "./limits.ts"
import { Ledger, refuseKeeper } from "./ledger.ts"
import { notStarted, type Stop, unseenEnding } from "./outcome.ts"
import { attemptFiles, type KeeperPaths, shortHash } from "./paths.ts"
import { type ProcessId, startTimeOf } from "./process-table.ts"
import { pageMax, Refusal, type Target } from "./protocol.ts"
import type { Exit, Spawner } from "./spawner.ts"
import { prepareOrder } from "./preparation.ts"
import type { SpareFiles } from "./spare-files.ts"
import { leaveCluster, removeEmpty, removeFiles } from "./staging.ts"
import type { Sweeper } from "./sweeper.ts"
import { Tenure } from "./tenure.ts"
import { findByNonce, isSameJob } from "./tree.ts"
import { viewOf } from "./view.ts"

export interface SupervisorParts {
  readonly paths: KeeperPaths
  readonly clock: KeeperClock
  readonly journal: Pick<Journal, "append" | "rewrite" | "failed" | "isLarge">
  readonly spawner: Spawner
  readonly cgroups: Cgroups | undefined
  readonly limits: LimitedCgroups
  /** Where no cgroup tells that nobody holds a file any more, none is used again. */
  readonly spares: SpareFiles | undefined
  readonly bootId: string
  /** Where no cgroup holds a job's processes together. */
  readonly sweeper: Sweeper | undefined
  /** What every job's environment begins with. */
  readonly environment: Readonly<Record<string, string>>
  /** Path of setpriv, when a job can be made to die with the keeper. */
  readonly setpriv: string | undefined
  readonly log: KeeperLog
  readonly changed: (attempt: KeeperAttempt) => void
}

const watchMs = 250

export class Supervisor {
  readonly #parts: SupervisorParts
  readonly #book: Book
  readonly #jobs = new Map<string, Job>()
  /** Launches under way, so that the same order twice waits for the first. */
  readonly #launching = new Map<string, Promise<void>>()
  readonly #endWaiters = new Map<string, (() => void)[]>()
  #watch: Timer | undefined
  readonly #ledger: Ledger
  readonly #tenure: Tenure

  constructor(book: Book, parts: SupervisorParts) {
    this.#book = book
    this.#parts = parts
    this.#tenure = new Tenure(() => parts.clock.boottime())
    this.#ledger = new Ledger(book, { ...parts, ended: (attempt) => this.#ended(attempt) })
  }

  get live(): number {
    return this.#book.live().length
  }

  get known(): number {
    return this.#book.size
  }

  // ---------------------------------------------------------------- orders

  /** Answers when the process was spawned or cannot be. */
  async launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    const key = attemptKey(spec)
    const known = this.#book.find(spec)
    // Another cluster counts its runs and fences as this one did: the same names, not the same attempt.
    if (known?.spec.clusterId === spec.clusterId) {
      await this.#launching.get(key)
      return this.view(known)
    }
    this.#check(spec)
    if (this.#book.clusterId !== spec.clusterId) this.#bind(spec)
    const nonce = randomBytes(16).toString("hex")
    const at = this.#parts.clock.now()
    const before = this.#book.fenceOf(spec)
    const record = { type: "accepted", spec, nonce, bootId: this.#parts.bootId, at } as const
    this.#book.apply(record)
    const attempt = this.#book.find(spec)!
    const work = this.#begin(attempt, record, before)
    this.#launching.set(key, work)
    try {
      await work
    } finally {
      this.#launching.delete(key)
    }
    return this.view(attempt)
  }

  #check(spec: LaunchSpec): void {
    this.#checkCluster(spec)
    this.#ledger.check()
    // Terms and fences of another cluster say nothing about this one's.
    const { clusterId = spec.clusterId } = this.#book
    const isSame = clusterId === spec.clusterId
    const isOld = spec.term < this.#book.term
    if (isSame && (isOld || spec.fence <= this.#book.fenceOf(spec))) {
      const what = isOld ? `term ${spec.term}` : `fence ${spec.fence}`
      throw new Refusal("ERR_LEASE_LOST", `${what} of ${spec.task} is superseded`, {
        task: spec.task,
        attempt: spec.attempt,
      })
    }
    this.#tenure.check(spec)
    if (this.#book.size >= attemptsMax) {
      throw new Refusal("ERR_LIMIT", "too many attempts are not yet forgotten", {
        what: "attempts of a keeper",
        max: attemptsMax,
      })
    }
  }

  /** The node had a lease of this cluster then (ms since the host's boot): what is to end without one may go on. */
  renew(clusterId: string, at: number): void {
    if (this.#book.clusterId === undefined || this.#book.clusterId === clusterId) {
      this.#tenure.renew(at)
    }
  }

  #checkCluster(spec: LaunchSpec): void {
    const { clusterId } = this.#book
    if (clusterId === undefined || clusterId === spec.clusterId || this.live === 0) return
    throw new Refusal("ERR_FORBIDDEN", "jobs of another cluster still run here", {
      what: `starting jobs for cluster ${spec.clusterId}`,
    })
  }

  // What another cluster left behind is put aside: its run ids mean nothing here and may come again.
  #bind({ clusterId, term }: LaunchSpec): void {
    const { paths, clock, log } = this.#parts
    if (this.#book.clusterId !== undefined) {
      const kept = leaveCluster(paths, `${shortHash(this.#book.clusterId)}-${clock.now()}`)
      log("bound to another cluster", { clusterId, kept })
    }
    this.#ledger.note({ type: "bound", clusterId, term })
  }

  async #begin(attempt: Attempt, record: JournalRecord, fenceBefore: number): Promise<void> {
    try {
      await this.#ledger.write(record)
    } catch (error) {
      this.#book.retract(attempt, fenceBefore)
      throw error
    }
    await this.#endOlder(attempt)
    const problem = await this.#spawn(attempt)
    if (problem === undefined) return
    this.#parts.limits.release(attempt.limited ?? [])
    const ending = notStarted(problem, this.#parts.clock.now())
    await this.#ledger.end(attempt, { ...ending, stopped: attempt.stop !== undefined })
  }

  // A newer order for a task means that the older attempt must not run any more.
  async #endOlder({ spec }: Attempt): Promise<void> {
    for (const other of this.#book.live()) {
      if (taskKey(other.spec) !== taskKey(spec) || other.spec.fence >= spec.fence) continue
      const gone = this.#untilEnded(other)
      this.#stop(other, {
        at: this.#parts.clock.now(),
        graceMs: other.spec.graceMs,
        reason: `superseded by attempt ${spec.attempt}`,
      })
      await gone
    }
  }

  #untilEnded({ spec }: Attempt): Promise<void> {
    const key = attemptKey(spec)
    return new Promise((resolve) => {
      this.#endWaiters.set(key, [...(this.#endWaiters.get(key) ?? []), resolve])
    })
  }

  /** Undefined when it runs; else one sentence why not. */
  async #spawn(attempt: Attempt): Promise<string | undefined> {
    const { spec } = attempt
    const { spawner, clock } = this.#parts
    const target = targetOf(spec)
    const order = await prepareOrder(attempt, {
      ...this.#parts,
      limited: async (paths) => await this.#ledger.write({ type: "limited", ...target, paths }),
      // The disk: full, read-only, failing.
    }).catch((error: Error) => `it cannot be prepared: ${error.message}`)
    if (typeof order === "string") return order
    if (attempt.stop) return `${attempt.stop.reason} (before it was started)`
    for (const path of [order.stdout, order.stderr]) this.#parts.spares?.lend(path)
    const early: (Exit | undefined)[] = []
    let job: Job | undefined
    const ended = (exit: Exit | undefined) => (exit ? job?.exited(exit) : job?.orphaned())
    const spawned = await spawner.spawn(order, (exit) => {
      if (job) ended(exit)
      else early.push(exit)
    })
    if ("problem" in spawned) return spawned.problem
    if ("lost" in spawned) return await this.#recoverLost(attempt, spawned.lost)
    const at = clock.now()
    const { process, cgroup } = spawned
    this.#ledger.note({ type: "started", ...target, ...process, at, cgroup })
    job = this.#supervise(attempt, process, { adopted: false })
    this.#changed(attempt)
    if (attempt.stop) job.stop(attempt.stop)
    for (const exit of early) ended(exit)
    return undefined
  }

  async #recoverLost(attempt: Attempt, reason: string): Promise<undefined> {
    this.#parts.log("a spawner died", { ...targetOf(attempt.spec) })
    await this.#recoverOne(
      attempt,
      findByNonce(new Set([attempt.nonce])).get(attempt.nonce),
      reason,
    )
  }

  #supervise(
    attempt: Attempt,
    process: ProcessId,
    { adopted }: { readonly adopted: boolean },
  ): Job {
    const { spec, nonce, startedAt, readyAt, cgroup, limited = [] } = attempt
    const { clock, cgroups, paths, log } = this.#parts
    const target = targetOf(spec)
    const key = attemptKey(spec)
    const job = new Job(
      {
        adopted,
        cgroup: cgroup === undefined ? undefined : cgroups?.pathOf(cgroup),
        limited,
        spec,
        nonce,
        process,
        readyAt,
        files: attemptFiles(paths, spec),
        startedAt: startedAt ?? clock.now(),
      },
      {
        clock,
        cgroups,
        tenure: this.#tenure,
        log,
        ready: (at) => {
          this.#ledger.note({ type: "ready", ...target, at })
          this.#changed(attempt)
        },
        stopping: (stop) => this.#ledger.note({ type: "stopping", ...target, ...stop }),
        ended: (ending) => {
          this.#jobs.delete(key)
          if (cgroup !== undefined) this.#takeBack(spec)
          this.#parts.sweeper?.ended(nonce)
          void this.#ledger.end(attempt, ending)
        },
      },
    )
    this.#jobs.set(key, job)
    this.#watch ??= clock.every(watchMs, () => this.#watchAll())
    job.start()
    return job
  }

  /** Its cgroup is empty: what it left empty is nobody's any more. */
  #takeBack(spec: LaunchSpec): void {
    const { stdout, stderr } = attemptFiles(this.#parts.paths, spec)
    for (const path of [stdout, stderr]) this.#parts.spares?.takeBack(path)
  }

  #watchAll(): void {
    for (const job of this.#jobs.values()) job.watch()
    if (this.#jobs.size > 0) return
    this.#watch?.cancel()
    this.#watch = undefined
  }

  /** Resolves when the order is durable. Of an attempt that never came: its Start is refused from now on. */
  async end(target: Target, stop: Omit<Stop, "at">): Promise<void> {
    const attempt = this.#book.find(target)
    if (!attempt) {
      if (target.fence > this.#book.fenceOf(target)) {
        await this.#ledger.write({ type: "forgotten", ...target })
      }
      return
    }
    this.#stop(attempt, { at: this.#parts.clock.now(), ...stop })
    await this.#ledger.settled()
  }

  #stop(attempt: Attempt, stop: Stop): void {
    if (attempt.ended) return
    const job = this.#jobs.get(attemptKey(attempt.spec))
    if (job) job.stop(stop)
    else if (!attempt.stop)
      this.#ledger.note({ type: "stopping", ...targetOf(attempt.spec), ...stop })
  }

  async forget(target: Target, files: boolean): Promise<void> {
    const attempt = this.#book.find(target)
    if (!attempt) return
    if (!attempt.ended) throw refuseKeeper(`${target.task} of ${target.run} has not ended`)
    await this.#ledger.write({ type: "forgotten", ...target })
    // Files that nobody wrote to tell nothing that their absence does not.
    if (!files) return removeEmpty(attemptFiles(this.#parts.paths, attempt.spec))
    await removeFiles(attemptFiles(this.#parts.paths, attempt.spec), attempt.spec.directory)
  }

  page(after: number): { attempts: KeeperAttempt[]; next: number } {
    const found = this.#book.after(after, pageMax)
    const next = found.length === pageMax ? found.at(-1)!.order : 0
    return { attempts: found.map((attempt) => this.view(attempt)), next }
  }

  #ended(attempt: Attempt): void {
    if (attempt.ended) return
    attempt.ended = true
    this.#changed(attempt)
    const key = attemptKey(attempt.spec)
    for (const resolve of this.#endWaiters.get(key) ?? []) resolve()
    this.#endWaiters.delete(key)
  }

  // ---------------------------------------------------------------- after a restart

  /** Finds the jobs of an earlier keeper again. Called once, before any order. */
  async recover(): Promise<void> {
    const open = this.#book.live()
    const lost = new Set(
      open.filter((one) => !one.process && one.bootId === this.#parts.bootId).map((o) => o.nonce),
    )
    const byNonce = lost.size === 0 ? new Map<string, ProcessId>() : findByNonce(lost)
    await Promise.all(open.map((one) => this.#recoverOne(one, byNonce.get(one.nonce))))
    this.#parts.limits.sweep(new Set(this.#book.live().flatMap(({ limited = [] }) => limited)))
  }

  async #recoverOne(
    attempt: Attempt,
    found: ProcessId | undefined,
    why = "the keeper died while it was started",
  ): Promise<void> {
    const { spec, bootId, nonce, startedAt, stop } = attempt
    const { clock, cgroups, log } = this.#parts
    const target = targetOf(spec)
    const endedAt = clock.now()
    if (bootId !== this.#parts.bootId) {
      const reason = "the host was restarted while it ran"
      const ending = { outcome: "lost", reason, stopped: false, startedAt, endedAt } as const
      return await this.#ledger.end(attempt, ending)
    }
    if (!attempt.process && found) {
      const at = startTimeOf(found, endedAt)
      const cgroup = cgroups?.holding(found.pid)
      this.#ledger.note({ type: "started", ...target, ...found, at, cgroup })
    }
    if (!attempt.process) {
      const reason = `${why}: whether it ran is not known`
      return await this.#ledger.end(attempt, { ...unseenEnding(stop, { endedAt }), reason })
    }
    const same = isSameJob(attempt.process, nonce)
    log(same ? "job found again" : "job is gone", { ...target, ...attempt.process })
    const job = this.#supervise(attempt, attempt.process, { adopted: true })
    if (stop) job.stop(stop)
    else if (same && spec.onKeeperDeath === "die") {
      job.stop({ at: endedAt, graceMs: 0, reason: "it had to die with its keeper" })
    }
  }

  // ---------------------------------------------------------------- views

  /** Every output file and directory that an attempt still claims. */
  files(): ReadonlySet<string> {
    return new Set(
      this.#book.all().flatMap(({ spec }) => Object.values(attemptFiles(this.#parts.paths, spec))),
    )
  }

  #changed(attempt: Attempt): void {
    this.#parts.changed(this.view(attempt))
  }

  view(attempt: Attempt): KeeperAttempt {
    return viewOf(attempt, this.#parts)
  }
}

function targetOf({ run, task, fence }: Target): Target {
  return { run, task, fence }
}
