/** The log's own thread: synchronous write and fdatasync, away from the shared pool and from the main loop. It has no
 *  event loop of its own: it sleeps on a bell in shared memory, which wakes it sooner than a message would. */
import { randomInt } from "node:crypto"
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { directoryFiles } from "./wal-files.ts"
import { createWriter, type WalReply, type WalRequest } from "./wal-writer.ts"

if (!parentPort) throw new Error("this file runs as a worker")
const port = parentPort
/** Rung after each message. */
const bell = workerData as Int32Array

const writer = createWriter({
  files: directoryFiles,
  salt: () => randomInt(2 ** 32),
  now: () => performance.now(),
  reply: (reply: WalReply) => port.postMessage(reply),
})

/** Whatever came while the last group was on its way to the disk goes together. */
function waiting(): WalRequest[] {
  const requests: WalRequest[] = []
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    requests.push(next.message as WalRequest)
  }
  return requests
}

for (let isOpen = true; isOpen;) {
  const heard = Atomics.load(bell, 0)
  const requests = waiting()
  writer.run(requests)
  isOpen = requests.at(-1)?.kind !== "close"
  // Rung since it was looked at: the wait ends at once.
  if (requests.length === 0 && !writer.idle()) Atomics.wait(bell, 0, heard)
}
port.close()
