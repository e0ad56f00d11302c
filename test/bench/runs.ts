/** Runs as the bench hands them in: one role, no readiness, nothing after it. */
import type { RunView, SubmitRunInput } from "../../src/schema/index.ts"
import type { RestApi } from "./rest-api.ts"
import { eventually, rest } from "./waiting.ts"

const role = "job"

/** Every document is another one, as with real users: nothing of it is there already. */
export function oneRole(
  label: string,
  options: {
    readonly command: readonly string[]
    /** Any that fits unless named. */
    readonly node?: string
    /** Lines below the role. */
    readonly more?: readonly string[]
  },
): SubmitRunInput {
  const document = [
    "api_version: v1",
    `run_id: ${label}`,
    "roles:",
    `  ${role}:`,
    `    command: ${JSON.stringify(options.command)}`,
    ...(options.more ?? []).map((line) => `    ${line}`),
    "post_run:",
    "  analyze: false",
    "",
  ].join("\n")
  return { document, agents: options.node === undefined ? {} : { [role]: options.node } }
}

/** Throws unless the run was accepted. */
export async function submit(
  api: RestApi,
  run: SubmitRunInput,
  options: { readonly key?: string; readonly limitMs?: number } = {},
): Promise<RunView> {
  const { status, text } = await api.ask("POST", "/v1/runs", { json: run, ...options })
  if (status !== 201 && status !== 200) throw new Error(`not accepted: ${status} ${text}`)
  return JSON.parse(text) as RunView
}

/** Waits a moment before it asks, so that the asking does not disturb what is measured. */
export async function ended(api: RestApi, run: string): Promise<RunView> {
  await rest(50)
  return await eventually(`run ${run} to end`, async () => {
    const view = await api.read<RunView>(`/v1/runs/${run}`)
    return view.state === "finished" ? view : undefined
  })
}

/** What the role wrote. */
export async function output(api: RestApi, run: string): Promise<string> {
  const { status, text } = await api.ask("GET", `/v1/runs/${run}/logs?task=${role}`)
  if (status !== 200) throw new Error(`no log of ${run}: ${status} ${text}`)
  return text
}

/** A replicated write that changes nothing else: a finished run stays as it is, and the log has an entry more. */
export async function write(api: RestApi, run: string, limitMs = 10_000): Promise<void> {
  const { status, text } = await api.ask("DELETE", `/v1/runs/${run}`, { limitMs })
  if (status !== 202) throw new Error(`not written: ${status} ${text}`)
}
