/** Damage, copies and remains of crashes on a real directory. */
import { ClassicLevel } from "classic-level"
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Identity } from "../../../src/schema/index.ts"
import {
  blobFile,
  createBlobStore,
  createIdentityStore,
  createLocalStore,
  createSnapshotStore,
  createTableStore,
  loadKey,
} from "../../../src/storage/index.ts"
import type { MachineIds } from "../../../src/storage/binding.ts"
import { collect, inPortions } from "../../contract/storage/machines.ts"
import { confStateOf, markAt } from "../../support/log-samples.ts"

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-real-"))
})
afterEach(() => rm(directory, { recursive: true }))

const marked = (index: number) => ({ index, term: 1, confState: confStateOf(1) })

/** Changes a LevelDB store behind its user's back. */
async function behind(path: string, work: (level: ClassicLevel) => Promise<void>): Promise<void> {
  const level = new ClassicLevel(path)
  await work(level)
  await level.close()
}

async function fillTables(): Promise<void> {
  const tables = createTableStore({ directory })
  await tables.open()
  const rows = Array.from({ length: 20 }, (_, n) => ({ key: `k${n}`, value: `v${n}` }))
  await tables.write(rows, marked(4), { sync: true })
  await tables.close()
}

const tablesPath = () => join(directory, "fsm", "db-1")

describe("tables", () => {
  test.each<[string, (level: ClassicLevel) => Promise<void>]>([
    ["a lost row", (level) => level.del("rk7")],
    ["a changed row", (level) => level.put("rk7", "v8")],
    ["a row too many", (level) => level.put("rk99", "")],
    ["a lost mark", (level) => level.del("mark")],
    ["a damaged mark", (level) => level.put("mark", "{")],
  ])("%s is found, and replacing makes it whole", async (_, damage) => {
    await fillTables()
    await behind(tablesPath(), damage)
    const tables = createTableStore({ directory })
    await expect(tables.open()).rejects.toMatchObject({ code: "ERR_STORAGE" })
    await tables.replace(inPortions(["k", "v"] as const), marked(9))
    expect(await tables.get("k")).toBe("v")
    await tables.close()
    const again = createTableStore({ directory })
    expect(await again.open()).toMatchObject(marked(9))
    await again.close()
  })

  test("a store whose files are broken can be replaced, too", async () => {
    await fillTables()
    await writeFile(join(tablesPath(), "CURRENT"), "nonsense\n")
    const tables = createTableStore({ directory })
    await expect(tables.open()).rejects.toMatchObject({ code: "ERR_STORAGE" })
    await tables.replace(inPortions(["k", "v"] as const), marked(9))
    expect(await collect(tables.rows())).toEqual([["k", "v"]])
    await tables.close()
  })

  test("a crash while replacing leaves the old or the new", async () => {
    await fillTables()
    // Before the rename.
    await mkdir(join(directory, "fsm", "new.tmp"))
    const tables = createTableStore({ directory })
    expect(await tables.open()).toMatchObject(marked(4))
    await tables.close()
    expect(await readdir(join(directory, "fsm"))).toEqual(["db-1"])
    // After the rename, before the old is removed.
    await cp(tablesPath(), join(directory, "fsm", "db-2"), { recursive: true })
    await rm(join(tablesPath(), "CURRENT"))
    const again = createTableStore({ directory })
    expect(await again.open()).toMatchObject(marked(4))
    await again.close()
    expect(await readdir(join(directory, "fsm"))).toEqual(["db-2"])
  })

  test("a second opener is told that another has it", async () => {
    const tables = createTableStore({ directory })
    await tables.open()
    await expect(createTableStore({ directory }).open()).rejects.toMatchObject({
      code: "ERR_STORAGE",
      details: { reason: "another process has it open" },
    })
    await tables.close()
  })

  test("reading on after closing says that it is closed", async () => {
    await fillTables()
    const tables = createTableStore({ directory })
    await tables.open()
    const view = await tables.view()
    await tables.close()
    await expect(collect(view.rows)).rejects.toMatchObject({ code: "ERR_STOPPED" })
    await expect(tables.get("k1")).rejects.toMatchObject({ code: "ERR_STOPPED" })
  })
})

test("a damaged local row is named", async () => {
  const local = createLocalStore({ directory })
  await local.open()
  await local.put("peer/1", { address: "10.0.0.1" })
  await local.close()
  await behind(join(directory, "node"), async (level) => {
    const row = await level.get("peer/1")
    await level.put("peer/1", row!.replace("10.0.0.1", "10.0.0.2"))
    await level.put("peer/2", row!)
  })
  const again = createLocalStore({ directory })
  await again.open()
  for (const key of ["peer/1", "peer/2"]) {
    await expect(again.get(key)).rejects.toMatchObject({
      code: "ERR_STORAGE",
      details: { reason: `the row ${key} is damaged` },
    })
  }
  await expect(collect(again.range("peer/"))).rejects.toMatchObject({ code: "ERR_STORAGE" })
  await again.close()
})

describe("snapshots", () => {
  test("a flipped bit anywhere in the file is found", async () => {
    const snapshots = createSnapshotStore({ directory })
    await snapshots.create(markAt(5), inPortions(["a", "1"] as const, ["b", "2"] as const))
    const file = join(directory, "raft", "snap", "5.snap")
    const good = await readFile(file)
    for (let position = 0; position < good.length; position++) {
      const bad = Buffer.from(good)
      bad[position]! ^= 1 << ((position * 3) % 8)
      await writeFile(file, bad)
      await expect(collect(snapshots.rows(5))).rejects.toMatchObject({
        code: "ERR_LOG_CORRUPT",
        details: { file },
      })
    }
    for (let length = 0; length < good.length; length += 7) {
      await writeFile(file, good.subarray(0, length))
      await expect(collect(snapshots.chunks(5))).rejects.toMatchObject({ code: "ERR_LOG_CORRUPT" })
    }
  })

  test("one whose beginning is damaged is put aside, and an older one counts, or none", async () => {
    const snapshots = createSnapshotStore({ directory })
    for (const index of [5, 7]) await snapshots.create(markAt(index), inPortions(["a", "1"]))
    for (const [broken, left] of [
      [7, markAt(5)],
      [5, undefined],
    ] as const) {
      const file = join(directory, "raft", "snap", `${broken}.snap`)
      const bytes = await readFile(file)
      bytes[30]! ^= 1
      await writeFile(file, bytes)
      expect(await snapshots.latest()).toEqual(left)
    }
    expect(await readdir(join(directory, "quarantine"))).toHaveLength(2)
    // Again, of one that is not there: nothing happens.
    await snapshots.setAside(5)
  })

  test("what a crash left half written is not a snapshot, and goes", async () => {
    const snapshots = createSnapshotStore({ directory })
    await snapshots.create(markAt(5), inPortions(["a", "1"] as const))
    const folder = join(directory, "raft", "snap")
    await writeFile(join(folder, "9-half.tmp"), "half")
    expect(await snapshots.latest()).toEqual(markAt(5))
    await snapshots.prune()
    expect(await readdir(folder)).toEqual(["5.snap"])
  })

  test("pruning leaves what is being written", async () => {
    const snapshots = createSnapshotStore({ directory })
    const rows = (async function* () {
      yield ["a", "1"] as const
      await snapshots.prune()
      yield ["b", "2"] as const
    })()
    await snapshots.create(markAt(5), rows)
    expect((await collect(snapshots.rows(5))).length).toBe(2)
  })
})

function identityStore(path = directory, machine: MachineIds = { machine: "machine" }) {
  return createIdentityStore({ directory: path, machine })
}

describe("identity", () => {
  const identity: Identity = {
    format: 1,
    peerId: "12D3KooWpeer",
    clusterId: "cluster",
    cluster: "troupe",
    memberId: 5,
    redirects: [],
  }
  test("a copy is foreign on every start, until it becomes another member", async () => {
    await identityStore().open()
    await identityStore().write(identity)
    const copy = join(directory, "copy")
    await mkdir(copy)
    for (const name of ["node.json", "boot.json"]) await cp(join(directory, name), join(copy, name))
    for (const bootCount of [2, 3]) {
      expect(await identityStore(copy).open()).toMatchObject({ identity, foreign: true, bootCount })
    }
    // Writing the same member again does not make it ours.
    const redirects = [{ from: "x", into: "y" }]
    await identityStore(copy).write({ ...identity, redirects })
    expect((await identityStore(copy).open()).foreign).toBe(true)
    await identityStore(copy).write({ ...identity, memberId: 9 })
    expect((await identityStore(copy).open()).foreign).toBe(false)
    expect((await identityStore().open()).foreign).toBe(false)
  })

  test("the same directory on another machine is foreign", async () => {
    await identityStore().open()
    await identityStore().write(identity)
    expect((await identityStore(directory, { machine: "other machine" }).open()).foreign).toBe(true)
    expect((await identityStore().open()).foreign).toBe(false)
  })

  test.each<[string, MachineIds, boolean]>([
    ["the same hardware is not", { machine: "machine", product: "a" }, false],
    ["other hardware of the same machine id is", { machine: "machine", product: "b" }, true],
    ["hardware that may not be read is not", { machine: "machine" }, false],
  ])("a clone is foreign by its hardware: %s", async (_, machine, foreign) => {
    await identityStore(directory, { machine: "machine", product: "a" }).open()
    await identityStore(directory, { machine: "machine", product: "a" }).write(identity)
    expect((await identityStore(directory, machine).open()).foreign).toBe(foreign)
    // Whatever was seen in between: what it was bound to stays.
    const own = identityStore(directory, { machine: "machine", product: "a" })
    expect((await own.open()).foreign).toBe(false)
    const other = identityStore(directory, { machine: "machine", product: "b" })
    expect((await other.open()).foreign).toBe(true)
  })

  test("files that were copied back to the same place are foreign; one of two signs is not enough", async () => {
    await loadKey(directory, () => new Uint8Array([1, 2, 3]))
    await identityStore().open()
    await identityStore().write(identity)
    const parts = ["identity", "node.json", "boot.json"]
    const backup = join(directory, "backup")
    await mkdir(backup)
    for (const part of parts) {
      await cp(join(directory, part), join(backup, part), { recursive: true })
    }
    expect((await identityStore().open()).foreign).toBe(false)
    // A file with one inode number free for it would have the old one: both signs are changed by hand.
    const bootFile = join(directory, "boot.json")
    const boot = JSON.parse(await readFile(bootFile, "utf8")) as { key: { inode: string } }
    await writeFile(bootFile, JSON.stringify({ ...boot, key: { ...boot.key, inode: "1" } }))
    expect((await identityStore().open()).foreign).toBe(false)
    await rename(join(directory, "identity"), join(directory, "identity.old"))
    for (const part of parts) {
      await cp(join(backup, part), join(directory, part), { recursive: true, force: true })
    }
    expect((await identityStore().open()).foreign).toBe(true)
    expect((await identityStore().open()).foreign).toBe(true)
  })

  test("quarantine() moves all that a member wrote and deletes nothing, however often", async () => {
    await identityStore().open()
    await identityStore().write(identity)
    for (const round of ["", "-2"]) {
      for (const part of ["raft", "fsm"]) {
        await mkdir(join(directory, part))
        await writeFile(join(directory, part, "of-the-old"), round)
      }
      await mkdir(join(directory, "identity"), { recursive: true })
      await writeFile(join(directory, "identity", "log.json"), "")
      const to = await identityStore().quarantine(identity)
      expect(to).toBe(join(directory, "quarantine", `cluster-5${round}`))
      for (const part of ["raft", "fsm"]) {
        expect(await readFile(join(to, part, "of-the-old"), "utf8")).toBe(round)
      }
      expect(await readdir(join(to, "identity"))).toEqual(["log.json"])
      expect(await readdir(directory)).not.toContain("raft")
    }
  })

  test("an identity whose record of starts was lost is foreign", async () => {
    await identityStore().open()
    await identityStore().write(identity)
    await rm(join(directory, "boot.json"))
    expect((await identityStore().open()).foreign).toBe(true)
    expect((await identityStore().open()).foreign).toBe(true)
  })

  test.each(["node.json", "boot.json"])("a damaged %s is named", async (name) => {
    await identityStore().open()
    await identityStore().write(identity)
    await writeFile(join(directory, name), '{"format":1')
    await expect(identityStore().open()).rejects.toMatchObject({
      code: "ERR_STORAGE",
      details: { path: join(directory, name) },
    })
  })

  test("what archive() left undone at a crash, the next start does", async () => {
    await identityStore().open()
    await identityStore().write(identity)
    for (const part of ["raft", "fsm"]) {
      await mkdir(join(directory, part))
      await writeFile(join(directory, part, "of-the-old"), "")
    }
    // As if the process had died after the first of the two moves.
    await mkdir(join(directory, "archive", "cluster"), { recursive: true })
    await writeFile(join(directory, "moving"), "archive/cluster")
    await rename(join(directory, "raft"), join(directory, "archive", "cluster", "raft"))
    await identityStore().open()
    const archived = await readdir(join(directory, "archive", "cluster"))
    expect(archived).toEqual(expect.arrayContaining(["fsm", "raft"]))
    expect((await readdir(directory)).toSorted()).toEqual(["archive", "boot.json", "node.json"])
  })
})

describe("blobs and the key", () => {
  test("a blob's file is its bytes, and read-only", async () => {
    const blobs = createBlobStore({ directory })
    const { digest } = await blobs.put(inPortions(Buffer.from("the bytes")))
    const file = blobFile(directory, digest)
    expect(await readFile(file, "utf8")).toBe("the bytes")
    expect((await stat(file)).mode & 0o777).toBe(0o444)
    expect(() => blobFile(directory, "../../etc/passwd")).toThrow("not a SHA-256")
  })

  test("a source that fails leaves nothing, and what a crash left goes", async () => {
    const incoming = join(directory, "blobs", "incoming")
    await mkdir(incoming, { recursive: true })
    await writeFile(join(incoming, "1-left"), "half")
    const blobs = createBlobStore({ directory })
    const failing = (async function* () {
      yield new Uint8Array(10)
      throw new Error("the stream was reset")
    })()
    await expect(blobs.put(failing)).rejects.toThrow("the stream was reset")
    expect(await readdir(incoming)).toEqual([])
  })

  test("the key is made once, and refused when others may read it", async () => {
    const key = await loadKey(directory, () => new Uint8Array([1, 2, 3]))
    expect(await loadKey(directory, () => new Uint8Array([9]))).toEqual(key)
    const file = join(directory, "identity", "key.ed25519")
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await chmod(file, 0o644)
    await expect(loadKey(directory, () => key)).rejects.toMatchObject({ code: "ERR_STORAGE" })
  })
})
