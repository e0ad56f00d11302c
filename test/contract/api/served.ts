/** A real API on loopback over a fake node, for the length of one test. */
import { onTestFinished } from "vitest"
import { type Api, type ApiOptions, createApi } from "../../../src/api/index.ts"
import { type Clock, createClock, type Logger, silentLogger } from "../../../src/platform/index.ts"
import { FakeFace } from "../../support/fake-face.ts"

export interface Served {
  readonly face: FakeFace
  readonly api: Api
  readonly url: string
  readonly port: number
  /** What the API logged as error: a test that expects none looks here. */
  readonly logged: readonly string[]
}

export async function serve(
  options: Partial<ApiOptions> & { clock?: Clock; face?: FakeFace } = {},
): Promise<Served> {
  const { clock = createClock(), face = new FakeFace({ clock }), ...rest } = options
  const logged: string[] = []
  const logger: Logger = {
    ...silentLogger,
    error: (message, fields) => logged.push(`${message} ${String(fields?.["error"])}`),
    child: () => logger,
  }
  const api = createApi(
    { host: "127.0.0.1", port: 0, version: "0.1.0", ...rest },
    { face, clock, logger },
  )
  const { url, port } = await api.start()
  onTestFinished(() => api.stop())
  return { face, api, url, port, logged }
}
