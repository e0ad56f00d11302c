/** The keeper's side of its socket. */
import { chmodSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import type { KeeperAttempt } from "../wire/index.ts"
import type { KeeperLog } from "./clock.ts"
import {
  decodeRequest,
  encodeReply,
  FrameReader,
  type KeeperStatus,
  protocolVersion,
  Refusal,
  type Reply,
  type Request,
} from "./protocol.ts"
import { sendTogether } from "./sending.ts"
import type { Supervisor } from "./supervisor.ts"

export interface ServerParts {
  readonly supervisor: Supervisor
  /** Tells this program from others; said to nodes that know of builds. */
  readonly build: string
  readonly status: () => Omit<KeeperStatus, "version" | "pid">
  readonly log: KeeperLog
  /** Number of clients, whenever it changes. */
  readonly clients: (count: number) => void
  /** Asked to leave: whether it will. */
  readonly shutdown: () => boolean
}

const clientsMax = 16
/** A client that does not read is cut off; when it comes back it asks for the list. */
const unreadBytesMax = 16 << 20

export class KeeperServer {
  readonly #parts: ServerParts
  readonly #server: Server
  readonly #clients = new Set<Socket>()
  readonly #answering = new Set<Promise<void>>()

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#server = createServer((socket) => this.#welcome(socket))
    this.#server.maxConnections = clientsMax
  }

  async listen(path: string): Promise<void> {
    // Only the lock's holder comes here: a socket that is there belongs to a keeper that is dead.
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(path, resolve)
    })
    chmodSync(path, 0o600)
  }

  /** What was asked is still answered. */
  async close(): Promise<void> {
    this.#server.close()
    while (this.#answering.size > 0) await Promise.allSettled(this.#answering)
    for (const socket of this.#clients) socket.end()
  }

  tell(attempt: KeeperAttempt): void {
    const frame = encodeReply(0, { kind: "change", attempt })
    for (const socket of this.#clients) this.#send(socket, frame)
  }

  #send(socket: Socket, frame: Uint8Array): void {
    if (socket.destroyed) return
    if (socket.writableLength > unreadBytesMax) {
      this.#parts.log("client does not read")
      socket.destroy()
      return
    }
    sendTogether(socket, frame)
  }

  #welcome(socket: Socket): void {
    const frames = new FrameReader()
    this.#clients.add(socket)
    this.#parts.clients(this.#clients.size)
    socket.on("data", (chunk: Uint8Array) => {
      try {
        for (const frame of frames.push(chunk)) this.#begin(socket, frame)
      } catch (error) {
        this.#parts.log("client speaks another language", { error: (error as Error).message })
        socket.destroy()
      }
    })
    // A client that goes is normal; 'close' follows.
    socket.on("error", () => undefined)
    socket.on("close", () => {
      this.#clients.delete(socket)
      this.#parts.clients(this.#clients.size)
    })
  }

  #begin(socket: Socket, frame: Uint8Array): void {
    const work = this.#answer(socket, frame)
    this.#answering.add(work)
    void work.finally(() => this.#answering.delete(work))
  }

  async #answer(socket: Socket, frame: Uint8Array): Promise<void> {
    let id: number
    let request: Request
    try {
      ;({ id, request } = decodeRequest(frame))
    } catch (error) {
      this.#parts.log("request is not understood", { error: (error as Error).message })
      socket.destroy()
      return
    }
    let reply: Reply
    try {
      reply = await this.#handle(request)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      reply = { kind: "refusal", code: error.code, message: error.message, details: error.details }
    }
    this.#send(socket, encodeReply(id, reply))
  }

  async #handle(request: Request): Promise<Reply> {
    const { supervisor } = this.#parts
    switch (request.op) {
      case "launch":
        return { kind: "attempt", attempt: await supervisor.launch(request.spec) }
      case "end": {
        const { graceMs, reason } = request
        await supervisor.end(request, { graceMs, reason })
        return { kind: "done" }
      }
      case "forget":
        await supervisor.forget(request, request.files)
        return { kind: "done" }
      case "list":
        return { kind: "page", ...supervisor.page(request.after) }
      case "renew":
        supervisor.renew(request.clusterId, request.at)
        return { kind: "done" }
      case "hello": {
        // An older node is answered in its own words.
        const version = Math.min(request.version, protocolVersion)
        const { build } = this.#parts
        return { kind: "hello", version, pid: process.pid, ...(version > 1 && { build }) }
      }
      case "status":
      case "shutdown":
        return this.#tellOfItself(request.op)
    }
    // Decoding lets nothing else through.
    throw new Error("unknown request")
  }

  #tellOfItself(what: "status" | "shutdown"): Reply {
    const own = { version: protocolVersion, pid: process.pid }
    if (what === "status") {
      return { kind: "status", status: { ...own, ...this.#parts.status() } }
    }
    return { kind: "leaving", leaving: this.#parts.shutdown() }
  }
}
