/** One connection of a node to its keeper: requests matched to answers, changes handed on. */
import { connect, type Socket } from "node:net"
import type { Clock } from "../platform/index.ts"
import { TroupeError, type AnyTroupeError } from "../schema/index.ts"
import type { KeeperAttempt } from "../wire/index.ts"
import { sendTogether } from "./sending.ts"
import {
  decodeReply,
  encodeRequest,
  FrameReader,
  protocolVersion,
  Refusal,
  type Reply,
  type Request,
} from "./protocol.ts"

const dialTimeoutMs = 2000
const callTimeoutMs = 60_000
const callsMax = 10_000

type ReplyOf<K extends Reply["kind"]> = Extract<Reply, { kind: K }>

interface Call {
  readonly done: (reply: Reply) => void
  readonly failed: (error: Error) => void
}

export interface ConnectionParts {
  readonly clock: Clock
  readonly changed: (attempt: KeeperAttempt) => void
  readonly closed: () => void
}

export class Connection {
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #calls = new Map<number, Call>()
  /** Who answers: its version and, from version 2 on, its build. */
  hello: { readonly version: number; readonly build?: string | undefined } = { version: 0 }
  /** Resolves when it is over, however that came. */
  readonly closed: Promise<void>
  #id = 0
  #open = true

  private constructor(socket: Socket, parts: ConnectionParts) {
    this.#socket = socket
    this.#clock = parts.clock
    const frames = new FrameReader()
    socket.on("data", (chunk: Uint8Array) => {
      try {
        for (const frame of frames.push(chunk)) this.#take(frame, parts.changed)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    let reason = "the keeper closed the connection"
    socket.on("error", (error) => (reason = error.message))
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()))
    socket.on("close", () => {
      this.#open = false
      for (const call of this.#calls.values()) call.failed(keeperError(reason))
      this.#calls.clear()
      parts.closed()
    })
  }

  /** Dials and agrees on the version (ERR_PROTOCOL). Rejects with the system's error when nobody listens. */
  static async open(path: string, parts: ConnectionParts): Promise<Connection> {
    const socket = await dial(path, parts.clock)
    const connection = new Connection(socket, parts)
    const hello = await connection.call({ op: "hello", version: protocolVersion }, "hello")
    // A newer one answers in the version that it was asked in.
    if (hello.version < 1 || hello.version > protocolVersion) {
      connection.close()
      const reason = `keeper ${hello.pid} speaks version ${hello.version}, this node ${protocolVersion}`
      throw new TroupeError("ERR_PROTOCOL", reason, { where: "keeper", reason })
    }
    connection.hello = hello
    return connection
  }

  async call<K extends Reply["kind"]>(request: Request, kind: K): Promise<ReplyOf<K>> {
    if (!this.#open) throw keeperError("no connection to the keeper")
    if (this.#calls.size >= callsMax) {
      throw new TroupeError("ERR_LIMIT", "too many requests wait for the keeper", {
        what: "requests to the keeper",
        max: callsMax,
      })
    }
    const id = ++this.#id
    const frame = asTroupeError(() => encodeRequest(id, request))
    const reply = await new Promise<Reply>((resolve, reject) => {
      const limit = this.#clock.after(callTimeoutMs, () => {
        this.#calls.delete(id)
        const message = `the keeper did not answer ${request.op} within ${callTimeoutMs} ms`
        reject(keeperError(message))
      })
      this.#calls.set(id, {
        done(value) {
          limit.cancel()
          resolve(value)
        },
        failed(error) {
          limit.cancel()
          reject(error)
        },
      })
      sendTogether(this.#socket, frame)
    })
    if (reply.kind === "refusal") throw refusalError(reply.code, reply.message, reply.details)
    if (reply.kind !== kind) throw keeperError(`the keeper answered ${request.op} by ${reply.kind}`)
    return reply as ReplyOf<K>
  }

  #take(frame: Uint8Array, changed: (attempt: KeeperAttempt) => void): void {
    const { id, reply } = decodeReply(frame)
    if (reply.kind === "change") return changed(reply.attempt)
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    call?.done(reply)
  }

  close(): void {
    this.#socket.destroy()
  }
}

function dial(path: string, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    const limit = clock.after(dialTimeoutMs, () =>
      socket.destroy(keeperError(`no answer within ${dialTimeoutMs} ms`)),
    )
    socket.once("connect", () => {
      limit.cancel()
      socket.removeListener("error", reject)
      resolve(socket)
    })
    socket.once("error", (error) => {
      limit.cancel()
      reject(error)
    })
  })
}

export function keeperError(reason: string, cause?: unknown): TroupeError<"ERR_KEEPER"> {
  return new TroupeError("ERR_KEEPER", `keeper: ${reason}`, { reason }, { cause })
}

// The keeper names a code of our table and sends that code's details.
function refusalError(code: string, message: string, details: unknown): AnyTroupeError {
  return new TroupeError(
    code as AnyTroupeError["code"],
    message,
    details as never,
  ) as AnyTroupeError
}

function asTroupeError<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof Refusal) throw refusalError(error.code, error.message, error.details)
    throw new TroupeError("ERR_LIMIT", `the order is too large for the keeper: ${String(error)}`, {
      what: "keeper message",
      max: 0,
    })
  }
}
