/** A TCP throughput test of its own, for hosts without iperf3. Needs Node 18 or newer and nothing else.
 *
 *  node throughput.mjs server [--listen 0.0.0.0] [--port 5202]
 *  node throughput.mjs client --host ADDRESS [--port 5202] [--seconds 5]
 *
 *  The client sends as fast as the connection takes it; the server counts what arrives and answers with its count. */
import { connect, createServer } from "node:net"
import { parseArgs } from "node:util"

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    listen: { type: "string", default: "0.0.0.0" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "5202" },
    seconds: { type: "string", default: "5" },
  },
})
const port = Number(values.port)
const seconds = Number(values.seconds)

function fail(error) {
  console.error(`throughput: ${error.message}`)
  process.exit(1)
}

/** Counts from the first byte to the end of each connection. */
function serve() {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0
    let startedAt = 0
    socket.on("data", (chunk) => {
      startedAt ||= performance.now()
      bytes += chunk.length
    })
    socket.on("end", () => {
      const took = Math.max((performance.now() - startedAt) / 1000, 0.001)
      const result = { bits_per_second: Math.round((bytes * 8) / took), bytes, seconds: took }
      console.log(JSON.stringify({ event: "received", from: socket.remoteAddress, ...result }))
      socket.end(JSON.stringify(result))
    })
    // A client that goes away is its own loss: the server serves the next one.
    socket.on("error", (error) => console.error(`throughput: ${error.message}`))
  })
  server.on("error", fail)
  server.listen(port, values.listen, () => {
    const listen = `${values.listen}:${port}`
    console.log(
      JSON.stringify({ event: "server_ready", listen, timestamp: new Date().toISOString() }),
    )
  })
  process.on("SIGTERM", () => process.exit(0))
}

function send() {
  const block = Buffer.alloc(128 * 1024)
  const socket = connect({ host: values.host, port, allowHalfOpen: true })
  let answer = ""
  let endAt = Infinity
  const push = () => {
    while (performance.now() < endAt) {
      if (!socket.write(block)) return
    }
    socket.end()
  }
  socket.on("connect", () => {
    endAt = performance.now() + seconds * 1000
    // Without this a connection that takes nothing more would never be ended.
    setTimeout(() => socket.end(), seconds * 1000)
    push()
  })
  socket.on("drain", push)
  socket.on("data", (chunk) => (answer += chunk))
  socket.on("end", () => {
    if (answer === "") return fail(new Error("the server closed the connection without its count"))
    console.log(JSON.stringify({ tool: "throughput", ...JSON.parse(answer) }))
    process.exit(0)
  })
  socket.on("error", fail)
}

if (positionals[0] === "server" && Number.isInteger(port)) serve()
else if (positionals[0] === "client" && Number.isInteger(port) && seconds > 0) send()
else fail(new Error("say server or client; see the head of this file"))
