/** Which routes there are, for those who ask for one that there is not. */
import { nearest } from "../lib/index.ts"
import { HttpProblem } from "./problem.ts"

export class RouteList {
  readonly #methods = new Map<string, Set<string>>()

  /** `url` as fastify writes it, e.g. `/v1/runs/:id`. */
  add(url: string, method: string): void {
    const methods = this.#methods.get(url) ?? new Set()
    this.#methods.set(url, methods.add(method))
  }

  /** Patterns with their methods, for the tests that compare them with the documents. */
  all(): readonly { readonly url: string; readonly methods: readonly string[] }[] {
    return [...this.#methods].map(([url, methods]) => ({ url, methods: [...methods] }))
  }

  /** 405 with the methods that the path takes, else 404 with the nearest path. */
  missing(method: string, path: string): { problem: HttpProblem; allow: string | undefined } {
    const fitting = [...this.#methods].find(([url]) => fits(url, path))
    if (fitting) {
      const allow = [...fitting[1]].toSorted().join(", ")
      const message = `${method} is not taken by ${path}; it takes ${allow}`
      return { problem: new HttpProblem("ERR_METHOD_NOT_ALLOWED", message), allow }
    }
    const near = this.#nearest(path)
    const hint = near === undefined ? "see /openapi.json" : `did you mean ${near}?`
    const message = `there is no route ${path.slice(0, 200)}; ${hint}`
    return { problem: new HttpProblem("ERR_ROUTE_NOT_FOUND", message), allow: undefined }
  }

  /** With the asker's own ids put in for the parameters, so that only the fixed parts count. */
  #nearest(path: string): string | undefined {
    const segments = path.split("/")
    const candidates = [...this.#methods.keys()].map((url) =>
      url
        .split("/")
        .map((part, index) => (part.startsWith(":") ? (segments[index] ?? part) : part))
        .join("/"),
    )
    const near = nearest(path, candidates)
    // `/runs` for `/v1/runs` is the commonest slip and too far for a letter count.
    return near ?? candidates.find((candidate) => candidate === `/v1${path}`)
  }
}

function fits(url: string, path: string): boolean {
  const pattern = url.split("/")
  const parts = path.replace(/(?<=.)\/$/, "").split("/")
  return (
    pattern.length === parts.length &&
    pattern.every((part, index) => part.startsWith(":") || part === parts[index])
  )
}
