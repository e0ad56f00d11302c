/** Servers that answer every write at once: HTTP/1.1 as troupe's REST does, gRPC as etcd does. */
import { createServer as createHttp } from "node:http"
import { createServer as createHttp2 } from "node:http2"
import type { AddressInfo, Server } from "node:net"

const http = createHttp((request, response) => {
  request.resume()
  response.writeHead(204).end()
})

const grpc = createHttp2()
grpc.on("stream", (stream) => {
  stream.resume()
  stream.on("end", () => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    )
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
    // An empty message: not compressed, no bytes.
    stream.end(Buffer.alloc(5))
  })
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as AddressInfo).port
}

const ports = { http: await listen(http), grpc: await listen(grpc) }
process.stdout.write(`${JSON.stringify({ event: "listening", ...ports })}\n`)
