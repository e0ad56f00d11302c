/** The least a Node orchestrator can do with the same promises and no libraries: `leader PORT FILE` or `worker FILE`.
 *  HTTP → a line on this disk and, over TCP, on another one → TCP → spawn. */
import { spawn } from "node:child_process"
import { closeSync, fdatasync, openSync, readFileSync, write } from "node:fs"
import { createServer as createHttp } from "node:http"
import { connect, createServer, type Socket } from "node:net"
import { createInterface } from "node:readline"

interface Line {
  readonly id: number
  readonly kind: "append" | "appended" | "start" | "ended"
  readonly command?: readonly string[]
  readonly output?: string
}

const [role, ...rest] = process.argv.slice(2)

function tell(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

function send(socket: Socket, line: Line): void {
  socket.write(`${JSON.stringify(line)}\n`)
}

/** Group commit: lines that come while the disk is busy share the next fdatasync. */
function openLog(path: string): (line: string) => Promise<void> {
  const file = openSync(path, "w")
  let waiting: { line: string; done: () => void }[] = []
  let busy = false
  const flush = (): void => {
    const batch = waiting
    waiting = []
    busy = batch.length > 0
    if (!busy) return
    write(file, batch.map((one) => one.line).join(""), () =>
      fdatasync(file, () => {
        for (const one of batch) one.done()
        flush()
      }),
    )
  }
  return (line) =>
    new Promise((done) => {
      waiting.push({ line, done })
      if (!busy) flush()
    })
}

function worker(path: string): void {
  const append = openLog(path)
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    createInterface({ input: socket }).on("line", (text) => {
      const { id, kind, command = [] } = JSON.parse(text) as Line
      if (kind === "append") {
        void append(text).then(() => send(socket, { id, kind: "appended" }))
        return
      }
      const outputFile = `${path}.${id}`
      const file = openSync(outputFile, "w")
      const [program, ...args] = command
      spawn(program!, args, { stdio: ["ignore", file, "ignore"] }).on("exit", () => {
        send(socket, { id, kind: "ended", output: readFileSync(outputFile, "utf8") })
      })
      closeSync(file)
    })
  })
  server.listen(0, "127.0.0.1", () => tell({ event: "listening", ...portOf(server.address()) }))
}

function leader(port: number, path: string): void {
  const append = openLog(path)
  const socket = connect(port, "127.0.0.1").setNoDelay(true)
  const waiting = new Map<string, (line: Line) => void>()
  const expect = (id: number, kind: Line["kind"]): Promise<Line> =>
    new Promise((resolve) => waiting.set(`${id}.${kind}`, resolve))
  createInterface({ input: socket }).on("line", (text) => {
    const line = JSON.parse(text) as Line
    waiting.get(`${line.id}.${line.kind}`)?.(line)
    waiting.delete(`${line.id}.${line.kind}`)
  })
  let last = 0
  const perform = async (body: string): Promise<string> => {
    const id = ++last
    const { command } = JSON.parse(body) as { command?: readonly string[] }
    const copied = expect(id, "appended")
    send(socket, { id, kind: "append" })
    await Promise.all([append(`${body}\n`), copied])
    if (!command) return "{}"
    const ended = expect(id, "ended")
    send(socket, { id, kind: "start", command })
    return (await ended).output ?? ""
  }
  const server = createHttp((request, response) => {
    const pieces: Buffer[] = []
    request.on("data", (piece: Buffer) => pieces.push(piece))
    request.on("end", () => {
      void perform(Buffer.concat(pieces).toString()).then((text) => response.end(text))
    })
  })
  server.listen(0, "127.0.0.1", () => tell({ event: "listening", ...portOf(server.address()) }))
}

function portOf(address: unknown): { port: number } {
  return { port: (address as { port: number }).port }
}

if (role === "worker") worker(rest[0]!)
else leader(Number(rest[0]), rest[1]!)
