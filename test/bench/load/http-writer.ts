/** troupe's write over REST: HTTP/1.1 on one kept socket, written and read by hand so that the client stays small. */
import { connect, type Socket } from "node:net"
import { valueBytes, type Writer, type WriterTarget, within } from "./writer.ts"

interface Asked {
  settle(ok: boolean): void
}

const headEnd = Buffer.from("\r\n\r\n")

/** One request at a time; concurrency is several of these. */
export class HttpWriter implements Writer {
  readonly #target: WriterTarget
  readonly #head: string
  #socket: Socket | undefined
  #held: Buffer = Buffer.alloc(0)
  #asked: Asked | undefined

  constructor(target: WriterTarget) {
    this.#target = target
    const reason = "x".repeat(valueBytes)
    this.#head =
      `DELETE /v1/runs/${target.run}?reason=${reason} HTTP/1.1\r\n` +
      `host: ${target.host}:${target.port}\r\nprefer: return=minimal\r\n\r\n`
  }

  write(_number: number, limitMs: number): Promise<boolean> {
    return within(limitMs, (settle) => {
      const asked = { settle }
      this.#asked = asked
      this.#open().write(this.#head)
      // An answer that comes too late would be taken for the next one's.
      return () => this.close()
    })
  }

  close(): void {
    this.#socket?.destroy()
    this.#lost(this.#socket)
  }

  #open(): Socket {
    if (this.#socket) return this.#socket
    const socket = connect(this.#target.port, this.#target.host)
    socket.setNoDelay(true)
    socket.on("data", (chunk) => this.#read(chunk))
    socket.on("error", () => this.#lost(socket))
    socket.on("close", () => this.#lost(socket))
    this.#held = Buffer.alloc(0)
    this.#socket = socket
    return socket
  }

  #lost(socket: Socket | undefined): void {
    if (this.#socket !== socket) return
    this.#socket = undefined
    this.#asked?.settle(false)
    this.#asked = undefined
  }

  /** Status, content-length, and then that many bytes: all that the answers of a node consist of. */
  #read(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const end = this.#held.indexOf(headEnd)
    if (end < 0) return
    const head = this.#held.toString("latin1", 0, end).toLowerCase()
    const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0)
    if (this.#held.length < end + headEnd.length + length) return
    const status = head.slice(9, 12)
    this.#held = Buffer.alloc(0)
    const asked = this.#asked
    this.#asked = undefined
    asked?.settle(status.startsWith("2"))
  }
}
