/** A REST connection that is kept open, with as little of its own in the way as Node allows. */
import { Agent, request } from "node:http"

export interface Answer {
  readonly status: number
  readonly text: string
}

export interface RestApi {
  /** Rejects when no answer comes; any status is an answer. */
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>
  /** The JSON of a GET, whatever its status. */
  read<T>(path: string): Promise<T>
  close(): void
}

export interface AskOptions {
  readonly json?: unknown
  readonly key?: string
  readonly limitMs?: number
}

export function openApi(url: string, connections = 1): RestApi {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const ask = async (method: string, path: string, options: AskOptions = {}): Promise<Answer> => {
    const { json, key, limitMs = 10_000 } = options
    const sent = json === undefined ? undefined : JSON.stringify(json)
    const headers: Record<string, string | number> = {
      ...(sent !== undefined && {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(sent),
      }),
      ...(key !== undefined && { "idempotency-key": key }),
    }
    return await new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(limitMs)
      const asked = request(`${url}${path}`, { method, agent, headers, signal }, (response) => {
        const pieces: Buffer[] = []
        response.on("data", (piece: Buffer) => pieces.push(piece))
        response.on("error", reject)
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() })
        })
      })
      asked.setNoDelay(true)
      asked.on("error", reject)
      asked.end(sent)
    })
  }
  return {
    ask,
    read: async <T>(path: string) => JSON.parse((await ask("GET", path)).text) as T,
    close: () => agent.destroy(),
  }
}
