/** How a replica ends: stopped, by a broken invariant or disk, without what it had acknowledged, or with wrong tables. */
import type { ReplicaParts } from "./replica-options.ts"

/** The index at which the tables were put aside, until those that were made again are confirmed beyond it. */
const quarantinedKey = "quarantined"

export interface ReplicaEndInput {
  readonly parts: ReplicaParts
  /** Nothing more begins. */
  halt(): void
  /** What is under way on disk has ended. */
  settled(): Promise<void>
  applied(): number
  /** This replica must not go on as the member that it was. */
  lost(reason: string): void
}

export class ReplicaEnd {
  readonly #input: ReplicaEndInput
  #isOver = false

  constructor(input: ReplicaEndInput) {
    this.#input = input
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** False: it had ended before. */
  begin(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#input.halt()
    return true
  }

  async close(): Promise<void> {
    await this.#input.settled()
    await this.#input.parts.log.close()
    await this.#input.parts.tables.close()
  }

  fatal(exitCode: 70 | 74 | 76, error: Error): void {
    if (this.begin()) this.#input.parts.fatal(exitCode, error)
  }

  lose(reason: string): void {
    if (!this.begin()) return
    this.close().then(
      () => this.#input.lost(reason),
      (error: unknown) => this.#input.parts.fatal(74, error as Error),
    )
  }

  /** This copy is wrong (C-29). It is put aside, and the next start makes it again from snapshot and log. When that has
   *  been done and it is wrong again, the snapshot is wrong too: then everything comes from the others. */
  async quarantine(error: Error): Promise<void> {
    if (this.#isOver) return
    const { local, tables, fatal } = this.#input.parts
    try {
      if ((await local.get(quarantinedKey)) !== undefined) {
        await local.delete(quarantinedKey)
        this.lose(error.message)
        return
      }
      this.begin()
      await this.#input.settled()
      await local.put(quarantinedKey, this.#input.applied())
      await tables.setAside()
      fatal(70, error)
    } catch (cause) {
      fatal(74, cause as Error)
    }
  }

  /** Checkpoints from before the quarantine are applied again with the log, and say nothing. */
  async confirmed(index: number): Promise<void> {
    const { local } = this.#input.parts
    try {
      const quarantined = (await local.get(quarantinedKey)) as number | undefined
      if (quarantined !== undefined && index > quarantined) await local.delete(quarantinedKey)
    } catch (error) {
      this.fatal(74, error as Error)
    }
  }
}
