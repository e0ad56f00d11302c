/** etcd's put over its own protocol: unary gRPC on one HTTP/2 connection, as many at once as wanted. */
import { type ClientHttp2Session, connect } from "node:http2"
import { valueBytes, type Writer, type WriterTarget, within } from "./writer.ts"

const keys = 10_000
const cancelled = 8
const headers = {
  ":method": "POST",
  ":path": "/etcdserverpb.KV/Put",
  "content-type": "application/grpc",
  te: "trailers",
}

export class GrpcWriter implements Writer {
  readonly #url: string
  #session: ClientHttp2Session | undefined

  constructor(target: WriterTarget) {
    this.#url = `http://${target.host}:${target.port}`
  }

  write(number: number, limitMs: number): Promise<boolean> {
    return within(limitMs, (settle) => {
      const stream = this.#open().request(headers)
      let status: unknown
      stream.on("response", (answer) => (status = answer["grpc-status"]))
      stream.on("trailers", (trailers) => (status = trailers["grpc-status"]))
      stream.on("error", () => undefined)
      stream.on("close", () => settle(Number(status ?? -1) === 0))
      stream.resume()
      stream.end(putRequest(`k${number % keys}`))
      return () => stream.close(cancelled)
    })
  }

  close(): void {
    this.#session?.destroy()
    this.#session = undefined
  }

  #open(): ClientHttp2Session {
    if (this.#session) return this.#session
    const session = connect(this.#url)
    const lost = (): void => {
      if (this.#session === session) this.#session = undefined
    }
    session.on("error", lost)
    session.on("close", lost)
    session.on("goaway", lost)
    this.#session = session
    return session
  }
}

const value = Buffer.alloc(valueBytes, "x")

/** A gRPC message: not compressed, its length, then PutRequest{1: key, 2: value}; both are shorter than 128 bytes. */
function putRequest(key: string): Buffer {
  const name = Buffer.from(key)
  const length = 4 + name.length + value.length
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([
    head,
    Buffer.of(0x0a, name.length),
    name,
    Buffer.of(0x12, value.length),
    value,
  ])
}
