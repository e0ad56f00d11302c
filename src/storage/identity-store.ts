/** node.json: who this node is in which cluster; boot.json: how often it started, and on which machine and files. */
import { randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Identity, TroupeError } from "../schema/index.ts"
import { type Binding, bindingOf, isBinding, isForeign, type MachineIds } from "./binding.ts"
import {
  isMissing,
  makeDirectory,
  namesIn,
  removeTree,
  renameDurably,
  storageError,
  syncDirectory,
  writeDurably,
} from "./durable.ts"
import { finishRecovery } from "./recovery.ts"
import { manifestName } from "./wal-manifest.ts"

export interface IdentityStore {
  open(): Promise<{
    identity: Identity | undefined
    boot: string
    bootCount: number
    foreign: boolean
  }>
  write(identity: Identity): Promise<void>
  archive(clusterId: string): Promise<void>
  quarantine(member: { clusterId: string; memberId: number }): Promise<string>
}

/** What of a data directory belongs to a member of a cluster, and goes with it. */
const consensusParts = ["raft", "fsm", join("identity", manifestName)]
const movingName = "moving"

interface Boot extends Binding {
  readonly format: 1
  readonly count: number
}

/** Identity in the data directory. `machine`: for tests; else what the system says of itself. */
export function createIdentityStore(options: {
  directory: string
  machine?: MachineIds
}): IdentityStore {
  return new FileIdentityStore(options)
}

class FileIdentityStore implements IdentityStore {
  readonly #directory: string
  readonly #machine: MachineIds | undefined

  constructor(options: { directory: string; machine?: MachineIds }) {
    this.#directory = options.directory
    this.#machine = options.machine
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  async open(): Promise<{
    identity: Identity | undefined
    boot: string
    bootCount: number
    foreign: boolean
  }> {
    try {
      await makeDirectory(this.#directory)
      await this.#finishMove()
      await finishRecovery(this.#directory, this)
      const identity = await this.#readIdentity()
      const before = await this.#readBoot()
      const here = await bindingOf(this.#directory, this.#machine)
      // An identity without the record of its machine came here by a copy, too.
      const foreign = before ? isForeign(before, here) : identity !== undefined
      const bootCount = (before?.count ?? 0) + 1
      // The binding of a copy stays as it was: it remains foreign however often it starts.
      const kept = before ?? { machine: "", directory: "" }
      await this.#writeBoot(bootCount, foreign ? kept : { ...before, ...here })
      // Names the count, so that of two starts the later one can be told.
      return { identity, boot: `${bootCount}-${randomHex()}`, bootCount, foreign }
    } catch (error) {
      throw storageError(this.#directory, error)
    }
  }

  async write(identity: Identity): Promise<void> {
    try {
      const before = await this.#readIdentity()
      const isNew =
        before?.clusterId !== identity.clusterId || before.memberId !== identity.memberId
      const boot = await this.#readBoot()
      await writeDurably(this.#path("node.json"), `${JSON.stringify(identity, undefined, 2)}\n`)
      // A new member is bound to where it was made, whatever lay here before.
      if (isNew) {
        await this.#writeBoot(boot?.count ?? 1, await bindingOf(this.#directory, this.#machine))
      }
    } catch (error) {
      throw storageError(this.#directory, error)
    }
  }

  /** The stores in there must be closed. What a crash leaves undone, the next open() does. */
  async archive(clusterId: string): Promise<void> {
    if (!/^[\w-]{1,128}$/.test(clusterId)) throw new Error(`not a cluster id: ${clusterId}`)
    await this.#move("archive", clusterId)
  }

  /** As archive(), for what cannot be trusted: nothing of it is deleted. Answers the directory that has it now. */
  async quarantine(member: { clusterId: string; memberId: number }): Promise<string> {
    const { clusterId, memberId } = member
    if (!/^[\w-]{1,128}$/.test(clusterId)) throw new Error(`not a cluster id: ${clusterId}`)
    return await this.#move("quarantine", `${clusterId}-${memberId}`)
  }

  async #move(folder: "archive" | "quarantine", wanted: string): Promise<string> {
    try {
      await makeDirectory(this.#path(folder))
      const taken = new Set(await namesIn(this.#path(folder)))
      let name = wanted
      for (let round = 2; taken.has(name); round++) name = `${wanted}-${round}`
      const target = join(folder, name)
      await makeDirectory(this.#path(target))
      await writeDurably(this.#path(movingName), target)
      await this.#finishMove()
      return this.#path(target)
    } catch (error) {
      throw storageError(this.#directory, error)
    }
  }

  async #finishMove(): Promise<void> {
    const target = await this.#read(movingName)
    if (target === undefined) return
    for (const part of consensusParts) {
      const to = join(this.#path(target), part)
      try {
        await makeDirectory(dirname(to))
        await renameDurably(this.#path(part), to)
      } catch (error) {
        // Moved before the crash, or never there.
        if (!isMissing(error)) throw error
      }
    }
    await removeTree(this.#path(movingName))
    await syncDirectory(this.#directory)
  }

  async #read(name: string): Promise<string | undefined> {
    try {
      return await readFile(this.#path(name), "utf8")
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #readIdentity(): Promise<Identity | undefined> {
    const text = await this.#read("node.json")
    if (text === undefined) return undefined
    const parsed = Identity.safeParse(parseJson(text))
    if (!parsed.success) throw this.#damaged("node.json", parsed.error.message)
    return parsed.data
  }

  async #readBoot(): Promise<Boot | undefined> {
    const text = await this.#read("boot.json")
    if (text === undefined) return undefined
    const boot = parseJson(text) as Partial<Boot> | undefined
    const isBoot = boot?.format === 1 && Number.isSafeInteger(boot.count) && isBinding(boot)
    if (!isBoot) throw this.#damaged("boot.json", "not a record of starts")
    return boot as Boot
  }

  async #writeBoot(count: number, bound: Binding): Promise<void> {
    const { machine, directory, product, key } = bound
    const boot: Boot = {
      format: 1,
      count,
      machine,
      directory,
      ...(product !== undefined && { product }),
      ...(key && { key }),
    }
    await writeDurably(this.#path("boot.json"), `${JSON.stringify(boot)}\n`)
  }

  #damaged(name: string, reason: string): TroupeError {
    const path = this.#path(name)
    return new TroupeError("ERR_STORAGE", `${path} is damaged: ${reason}`, { path, reason })
  }
}

function randomHex(): string {
  return randomBytes(16).toString("hex")
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    // The caller's check refuses undefined and names the file.
    return undefined
  }
}
