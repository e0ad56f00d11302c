/** The log's own thread: synchronous write and fdatasync, away from the shared pool and from the main loop. */
import { randomInt } from "node:crypto"
import { parentPort, receiveMessageOnPort } from "node:worker_threads"
import { directoryFiles } from "./wal-files.ts"
import { createWriter, type WalReply, type WalRequest } from "./wal-writer.ts"

if (!parentPort) throw new Error("this file runs as a worker")
const port = parentPort

const writer = createWriter({
  files: directoryFiles,
  salt: () => randomInt(2 ** 32),
  now: () => performance.now(),
  reply: (reply: WalReply) => port.postMessage(reply),
})

let idling = false
function idle(): void {
  idling = writer.idle()
  if (idling) setImmediate(idle)
}

port.on("message", (first: WalRequest) => {
  // Whatever came while the last group was on its way to the disk goes together.
  const requests = [first]
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    requests.push(next.message as WalRequest)
  }
  writer.run(requests)
  if (requests.at(-1)!.kind === "close") {
    port.close()
    return
  }
  if (!idling) setImmediate(idle)
  idling = true
})
