/** node.json: who this node is in which cluster; boot.json: how often it started, and on which machine. */
import { randomUUID } from "node:crypto"
import { readFile, realpath } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { Identity, TroupeError } from "../schema/index.ts"
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

export interface IdentityStore {
  open(): Promise<{
    identity: Identity | undefined
    boot: string
    bootCount: number
    foreign: boolean
  }>
  write(identity: Identity): Promise<void>
  archive(clusterId: string): Promise<void>
}

/** What of a data directory belongs to a cluster, and goes with it. */
const consensusParts = ["raft", "fsm"]
const archivingName = "archiving"

interface Boot {
  readonly format: 1
  readonly count: number
  readonly machine: string
  readonly directory: string
}

/** Identity in the data directory. `machineId`: for tests; else /etc/machine-id or the host's name. */
export function createIdentityStore(options: {
  directory: string
  machineId?: string
}): IdentityStore {
  return new FileIdentityStore(options)
}

class FileIdentityStore implements IdentityStore {
  readonly #directory: string
  readonly #machineId: string | undefined

  constructor(options: { directory: string; machineId?: string }) {
    this.#directory = options.directory
    this.#machineId = options.machineId
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
      await this.#finishArchive()
      const identity = await this.#readIdentity()
      const before = await this.#readBoot()
      const here = await this.#binding()
      // An identity without the record of its machine came here by a copy, too.
      const foreign = before ? !isSame(before, here) : identity !== undefined
      const bootCount = (before?.count ?? 0) + 1
      // The binding stays as it was: a copy remains foreign however often it starts.
      const bound = foreign && before ? before : foreign ? { machine: "", directory: "" } : here
      await this.#writeBoot(bootCount, bound)
      return { identity, boot: randomUUID(), bootCount, foreign }
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
      if (isNew) await this.#writeBoot(boot?.count ?? 1, await this.#binding())
    } catch (error) {
      throw storageError(this.#directory, error)
    }
  }

  /** The stores in there must be closed. What a crash leaves undone, the next open() does. */
  async archive(clusterId: string): Promise<void> {
    if (!/^[\w-]{1,128}$/.test(clusterId)) throw new Error(`not a cluster id: ${clusterId}`)
    try {
      await makeDirectory(this.#path("archive"))
      const taken = new Set(await namesIn(this.#path("archive")))
      let name = clusterId
      for (let round = 2; taken.has(name); round++) name = `${clusterId}-${round}`
      await makeDirectory(join(this.#path("archive"), name))
      await writeDurably(this.#path(archivingName), name)
      await this.#finishArchive()
    } catch (error) {
      throw storageError(this.#directory, error)
    }
  }

  async #finishArchive(): Promise<void> {
    const name = await this.#read(archivingName)
    if (name === undefined) return
    const target = join(this.#path("archive"), name)
    for (const part of consensusParts) {
      try {
        await renameDurably(this.#path(part), join(target, part))
      } catch (error) {
        // Moved before the crash, or never there.
        if (!isMissing(error)) throw error
      }
    }
    await removeTree(this.#path(archivingName))
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
    const isBoot =
      boot?.format === 1 &&
      Number.isSafeInteger(boot.count) &&
      typeof boot.machine === "string" &&
      typeof boot.directory === "string"
    if (!isBoot) throw this.#damaged("boot.json", "not a record of starts")
    return boot as Boot
  }

  async #writeBoot(count: number, bound: { machine: string; directory: string }): Promise<void> {
    const { machine, directory } = bound
    const boot: Boot = { format: 1, count, machine, directory }
    await writeDurably(this.#path("boot.json"), `${JSON.stringify(boot)}\n`)
  }

  async #binding(): Promise<{ machine: string; directory: string }> {
    return {
      machine: this.#machineId ?? (await thisMachine()),
      directory: await realpath(this.#directory),
    }
  }

  #damaged(name: string, reason: string): TroupeError {
    const path = this.#path(name)
    return new TroupeError("ERR_STORAGE", `${path} is damaged: ${reason}`, { path, reason })
  }
}

function isSame(a: { machine: string; directory: string }, b: typeof a): boolean {
  return a.machine === b.machine && a.directory === b.directory
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    // The caller's check refuses undefined and names the file.
    return undefined
  }
}

async function thisMachine(): Promise<string> {
  try {
    const id = (await readFile("/etc/machine-id", "utf8")).trim()
    if (id !== "") return id
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  return `host:${hostname()}`
}
