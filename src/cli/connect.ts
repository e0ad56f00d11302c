/** The client of a command: says on standard error what it waits for, so that nobody looks at a silent prompt. */
import { connect as open } from "node:net"
import { type Client, createClient } from "../client/index.ts"
import { apiUrls, type Session } from "./session.ts"

const listensMs = 1000

/** Said again only when the reason is another one. */
export function connect(session: Session, options: { api?: string | undefined }): Client {
  let said = ""
  return createClient({
    baseUrl: apiUrls(session, options.api),
    listens,
    onWait({ reason, waitMs }) {
      if (reason === said) return
      said = reason
      const { terminal } = session
      const next = waitMs === undefined ? "" : `; next try in ${(waitMs / 1000).toFixed(1)} s`
      terminal.tell(terminal.paintError("gray", `waiting: ${reason}${next}`))
    },
  })
}

/** A stopped process still has its socket: the kernel takes connections for it. */
async function listens(url: string): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, "")
  const socket = open({ host, port: Number(port) || (protocol === "https:" ? 443 : 80) })
  const answer = Promise.withResolvers<boolean>()
  socket.setTimeout(listensMs, () => answer.resolve(false))
  socket.once("connect", () => answer.resolve(true))
  socket.once("error", () => answer.resolve(false))
  try {
    return await answer.promise
  } finally {
    socket.destroy()
  }
}
