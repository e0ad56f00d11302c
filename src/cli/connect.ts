/** The client of a command: says on standard error what it waits for, so that nobody looks at a silent prompt. */
import { type Client, createClient } from "../client/index.ts"
import { apiUrls, type Session } from "./session.ts"

/** Said again only when the reason is another one. */
export function connect(session: Session, options: { api?: string | undefined }): Client {
  let said = ""
  return createClient({
    baseUrl: apiUrls(session, options.api),
    onWait({ reason, waitMs }) {
      if (reason === said) return
      said = reason
      const { terminal } = session
      const seconds = (waitMs / 1000).toFixed(1)
      terminal.tell(terminal.paintError("gray", `waiting: ${reason}; next try in ${seconds} s`))
    },
  })
}
