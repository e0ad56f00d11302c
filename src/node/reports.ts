/** What happened to attempts here, told to the leader until it has settled it. */
import type { PeerRef } from "../schema/index.ts"
import type { ReportItem } from "../state/index.ts"
import { reportItemsMax } from "../wire/index.ts"
import type { NodeContext } from "./context.ts"

const retryMs = 500
/** Settled reports that are remembered: the oldest go first. */
const settledMax = 100_000

export class Reports {
  readonly #context: NodeContext
  /** Whom to tell: of the last lease, also when it is over; undefined before any. */
  readonly #leader: () => PeerRef | undefined
  /** What no leader has settled yet, in the order it happened. */
  readonly #outbox = new Map<string, ReportItem>()
  /** Not sent again when the keeper says the same thing twice. */
  readonly #settled = new Set<string>()
  #flushing = false
  #retry: { cancel(): void } | undefined
  #stopped = false

  constructor(context: NodeContext, leader: () => PeerRef | undefined) {
    this.#context = context
    this.#leader = leader
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
  }

  add(item: ReportItem): void {
    const key = reportKey(item)
    if (this.#settled.has(key)) return
    if (!this.#outbox.has(key)) this.#outbox.set(key, item)
    this.kick()
  }

  /** Now, if there is anything to tell and somebody to tell it to. */
  kick(): void {
    if (this.#flushing || this.#outbox.size === 0 || this.#stopped || !this.#leader()) return
    this.#retry?.cancel()
    this.#retry = undefined
    this.#flushing = true
    void this.#flush().finally(() => {
      this.#flushing = false
      if (this.#outbox.size > 0 && !this.#stopped) {
        this.#retry = this.#context.parts.clock.after(retryMs, () => this.kick())
      }
    })
  }

  async #flush(): Promise<void> {
    while (this.#outbox.size > 0 && !this.#stopped) {
      const items = [...this.#outbox.values()].slice(0, reportItemsMax)
      let accepted: readonly number[]
      try {
        accepted = await this.#report(items)
      } catch (error) {
        this.#context.parts.logger.debug("report not heard", { error: String(error) })
        return
      }
      const fences = new Set(accepted)
      const before = this.#outbox.size
      for (const item of items) {
        if (!fences.has(item.fence)) continue
        this.#outbox.delete(reportKey(item))
        this.#remember(reportKey(item))
      }
      if (this.#outbox.size === before) return
    }
  }

  async #report(items: readonly ReportItem[]): Promise<readonly number[]> {
    const { parts, options } = this.#context
    const boot = this.#context.boot()
    const identity = this.#context.identity()
    const leader = this.#leader()
    // Reported as another member, should it become one; nobody else would believe it.
    if (!identity || !leader) return []
    const { clusterId, memberId } = identity
    const signal = parts.clock.timeoutSignal(options.timing.requestMs, "a report")
    const request = { type: "report", clusterId, memberId, boot, items } as const
    const answer = await this.#context.job(leader, request, { signal })
    if (answer.type !== "report") throw new Error(`report refused: ${JSON.stringify(answer)}`)
    return answer.accepted
  }

  #remember(key: string): void {
    this.#settled.add(key)
    if (this.#settled.size <= settledMax) return
    const [oldest] = this.#settled
    if (oldest !== undefined) this.#settled.delete(oldest)
  }
}

function reportKey(item: ReportItem): string {
  return `${item.run}/${item.group}[${item.index}]/${item.fence}/${item.state}`
}
