/** A new incarnation takes the old one's place: whenever the process dies, the next open() finds one of the two whole. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import type { Identity } from "../../../src/schema/index.ts"
import {
  announceRecovery,
  createIdentityStore,
  finishRecovery,
  stageRecovery,
} from "../../../src/storage/index.ts"

const old: Identity = {
  format: 1,
  peerId: "peer",
  clusterId: "c0",
  cluster: "lab",
  memberId: 3,
  redirects: [],
}
const next: Identity = {
  ...old,
  clusterId: "c0-1-0000000a",
  redirects: [{ from: "c0", into: "c0-1-0000000a", index: 7 }],
  keeperCluster: "c0",
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** A data directory of c0 in which the new incarnation lies prepared. */
async function prepared(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-recovery-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const store = createIdentityStore({ directory })
  await store.open()
  await store.write(old)
  put(join(directory, "raft/wal/1.wal"), "old log")
  put(join(directory, "fsm/db-1/CURRENT"), "old tables")
  put(join(directory, "identity/log.json"), "old manifest")
  const staged = await stageRecovery(directory)
  put(join(staged, "raft/wal/1.wal"), "new log")
  put(join(staged, "identity/log.json"), "new manifest")
  return directory
}

function read(directory: string, path: string): string | undefined {
  const file = join(directory, path)
  return existsSync(file) ? readFileSync(file, "utf8") : undefined
}

async function isNew(directory: string): Promise<void> {
  const { identity, foreign } = await createIdentityStore({ directory }).open()
  expect(foreign).toBe(false)
  expect(identity).toEqual(next)
  expect(read(directory, "raft/wal/1.wal")).toBe("new log")
  expect(read(directory, "identity/log.json")).toBe("new manifest")
  expect(read(directory, "fsm/db-1/CURRENT")).toBeUndefined()
  expect(read(directory, "archive/c0/raft/wal/1.wal")).toBe("old log")
  expect(read(directory, "archive/c0/identity/log.json")).toBe("old manifest")
  expect(read(directory, "archive/c0/fsm/db-1/CURRENT")).toBe("old tables")
  expect(existsSync(join(directory, "recovering"))).toBe(false)
}

test("C-47: what was only prepared is cleared away, and the old incarnation goes on", async () => {
  const directory = await prepared()
  const { identity } = await createIdentityStore({ directory }).open()
  expect(identity).toEqual(old)
  expect(read(directory, "raft/wal/1.wal")).toBe("old log")
  expect(existsSync(join(directory, "recovering"))).toBe(false)
})

test("C-47: what was announced is finished by the next open", async () => {
  const directory = await prepared()
  await announceRecovery(directory, { old: "c0", identity: next })
  await isNew(directory)
  // And it stays so.
  await isNew(directory)
})

const halfway: Readonly<Record<string, (directory: string) => Promise<void>>> = {
  "after the archive, before that is noted": async (directory) => {
    const store = createIdentityStore({ directory })
    await store.archive("c0")
  },
  "while the new log is moved": async (directory) => {
    await createIdentityStore({ directory }).archive("c0")
    writeFileSync(
      join(directory, "recovering/plan.json"),
      JSON.stringify({ step: "place", old: "c0", identity: next }),
    )
    renameSync(
      join(directory, "recovering/identity/log.json"),
      join(directory, "identity/log.json"),
    )
  },
  "before the identity is written": async (directory) => {
    const store = createIdentityStore({ directory })
    const dies = {
      archive: (id: string) => store.archive(id),
      write: () => Promise.reject(new Error("killed")),
    }
    await expect(finishRecovery(directory, dies)).rejects.toThrow("killed")
  },
  "before the remains are removed": async (directory) => {
    const store = createIdentityStore({ directory })
    const dies = {
      archive: (id: string) => store.archive(id),
      write: async (identity: Identity) => {
        await store.write(identity)
        throw new Error("killed")
      },
    }
    await expect(finishRecovery(directory, dies)).rejects.toThrow("killed")
  },
}

test.each(Object.keys(halfway))("C-47: a process that dies %s", async (where) => {
  const directory = await prepared()
  await announceRecovery(directory, { old: "c0", identity: next })
  await halfway[where]!(directory)
  await isNew(directory)
})
