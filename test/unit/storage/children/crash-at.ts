/** Appends over a log of small segments and kills itself before its Nth operation on files; prints what was acknowledged
 *  and, when it gets to the end, how many operations there were. Arguments: directory, N. */
import { writeSync } from "node:fs"
import { join } from "node:path"
import { directoryFiles, type WalFile, type WalFiles } from "../../../../src/storage/wal-files.ts"
import { Wal } from "../../../../src/storage/wal.ts"

const directory = process.argv[2]!
const last = Number(process.argv[3])
let operations = 0

function count<T>(work: () => T): T {
  operations++
  if (operations === last) process.kill(process.pid, "SIGKILL")
  return work()
}

function counted(file: WalFile): WalFile {
  return {
    write: (bytes, position) => count(() => file.write(bytes, position)),
    datasync: () => count(() => file.datasync()),
    close: () => file.close(),
  }
}

function countedFiles(path: string): WalFiles {
  const files = directoryFiles(path)
  return {
    list: () => files.list(),
    read: (name) => files.read(name),
    create: (name) => counted(count(() => files.create(name))),
    open: (name) => counted(files.open(name)),
    rename: (from, to) => count(() => files.rename(from, to)),
    remove: (name) => count(() => files.remove(name)),
    syncDirectory: () => count(() => files.syncDirectory()),
  }
}

const start = Buffer.from("start")
const wal = new Wal(countedFiles(join(directory, "wal")), {
  clusterId: "cluster",
  memberId: 1,
  segmentBytes: 4096,
  outside: countedFiles(join(directory, "identity")),
  salt: () => operations + 1,
})
wal.open(start, () => undefined)
for (let number = 0; number < 6; number++) {
  wal.append([{ payload: Buffer.from(`${number} ${"x".repeat(1500)}`), start }])
  writeSync(1, `${number}\n`)
  if (number === 4) wal.drop(2)
}
writeSync(1, `operations ${operations}\n`)
