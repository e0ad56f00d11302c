/** The stores on a simulated disk and on a real directory, behind one face for the contract suites. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  createBlobStore,
  createIdentityStore,
  createLocalStore,
  createLogStore,
  createSnapshotStore,
  createTableStore,
} from "../../../src/storage/index.ts"
import { createFakeStorage, FakeDisk, type FakeStorage } from "../../support/fake-storage.ts"
import { instantClock, seeded } from "../../support/log-samples.ts"

export interface Machine {
  /** New stores over what is there; the ones before must be closed. */
  stores(options?: { segmentBytes?: number }): FakeStorage
  dispose(): Promise<void>
}

async function fakeMachine(): Promise<Machine> {
  const disk = new FakeDisk({ clock: instantClock, random: seeded(1), torn: true })
  return { stores: (options) => createFakeStorage(disk, options), dispose: async () => {} }
}

async function realMachine(): Promise<Machine> {
  const directory = await mkdtemp(join(tmpdir(), "troupe-storage-"))
  return {
    stores: (options) => ({
      log: createLogStore({ directory, segmentBytes: 16 * 1024, ...options }),
      tables: createTableStore({ directory }),
      snapshots: createSnapshotStore({ directory }),
      local: createLocalStore({ directory }),
      identity: createIdentityStore({ directory, machine: { machine: "machine" } }),
      blobs: createBlobStore({ directory }),
    }),
    dispose: () => rm(directory, { recursive: true }),
  }
}

export const machines: readonly { kind: string; make: () => Promise<Machine> }[] = [
  { kind: "fake", make: fakeMachine },
  { kind: "real", make: realMachine },
]

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of source) all.push(item)
  return all
}

export async function* inPortions<T>(...items: T[]): AsyncGenerator<T> {
  yield* items
}
