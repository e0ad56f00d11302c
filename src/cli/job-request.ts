/** The flags of `troupe job run` → the request. What a flag cannot mean is said here, with its remedy. */
import { nearest } from "../lib/index.ts"
import { parseSize } from "../manifests/index.ts"
import type { Limits, Needs, SubmitJobInput } from "../schema/index.ts"
import { UsageError } from "./failure.ts"

export interface JobOptions {
  readonly name?: string
  readonly node?: string
  readonly needs: readonly string[]
  readonly count: number
  readonly parallel?: number
  readonly failFast?: true
  readonly retries: number
  readonly backoff?: number
  readonly deadline?: number
  readonly timeout?: number
  readonly exclusive?: "node" | "network" | true
  readonly placing?: "spread" | "pack"
  readonly priority?: number
  readonly memory?: string
  readonly cpus?: number
  readonly pids?: number
  readonly openFiles?: number
  readonly env: readonly string[]
  readonly cwd?: string
  readonly onLoss?: "wait" | "fail" | "requeue"
  readonly artifacts: readonly string[]
}

/** `environment`: of the caller, for `--env NAME` without a value. */
export function jobRequest(
  command: readonly string[],
  options: JobOptions,
  environment: Readonly<Record<string, string | undefined>>,
): SubmitJobInput {
  if (command.length === 0) {
    throw new UsageError("nothing to run", "write, for example: troupe job run -- make test")
  }
  const { name, parallel, backoff, deadline, timeout, exclusive, placing, priority, cwd, onLoss } =
    options
  const limits = limitsOf(options)
  return {
    command: [...command],
    env: environmentOf(options.env, environment),
    needs: needsOf(options),
    count: options.count,
    retries: options.retries,
    failFast: options.failFast === true,
    artifacts: [...options.artifacts],
    ...(name !== undefined && { name }),
    ...(parallel !== undefined && { parallel }),
    ...(backoff !== undefined && { backoffMs: backoff }),
    ...(deadline !== undefined && { deadlineMs: deadline }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(exclusive !== undefined && { exclusive: exclusive === true ? "node" : exclusive }),
    ...(placing !== undefined && { placing }),
    ...(priority !== undefined && { priority }),
    ...(limits !== undefined && { limits }),
    ...(cwd !== undefined && { cwd }),
    ...(onLoss !== undefined && { onLoss }),
  }
}

function environmentOf(
  words: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const pairs = words.map((word): [string, string] => {
    const equals = word.indexOf("=")
    if (equals > 0) return [word.slice(0, equals), word.slice(equals + 1)]
    const value = equals < 0 ? own[word] : undefined
    if (value !== undefined) return [word, value]
    const what = equals < 0 ? `${word} is not set here` : `${JSON.stringify(word)} has no name`
    throw new UsageError(
      `--env: ${what}`,
      "write --env NAME=VALUE, or --env NAME for one that is set",
    )
  })
  return Object.fromEntries(pairs)
}

const needWords = ["os", "arch", "cores", "memory", "gpus", "tool", "node"] as const
const labelPrefix = "label."

/** `cores=4,memory=8GiB,tool=ffmpeg,label.site=lab`, repeated or with commas. */
function needsOf({ node, needs: words }: JobOptions): Needs {
  const needs: Needs = node === undefined ? {} : { node }
  for (const word of words.flatMap((text) => text.split(",")).filter((text) => text !== "")) {
    const equals = word.indexOf("=")
    const key = word.slice(0, equals)
    const value = word.slice(equals + 1)
    if (equals < 1 || value === "") throw badNeed(word, "write KEY=VALUE")
    if (key.startsWith(labelPrefix) && key.length > labelPrefix.length) {
      needs.labels = { ...needs.labels, [key.slice(labelPrefix.length)]: value }
      continue
    }
    switch (needWords.find((known) => known === key)) {
      case "os":
      case "arch":
        Object.assign(needs, { [key]: value })
        break
      case "cores":
      case "gpus":
        Object.assign(needs, { [key]: wholeNumber(word, value) })
        break
      case "memory":
        needs.memoryBytes = size(value, "--needs memory")
        break
      case "tool":
        needs.tools = [...(needs.tools ?? []), value]
        break
      case "node":
        needs.node = value
        break
      case undefined:
        throw badNeed(word, unknownNeed(key, word))
    }
  }
  return needs
}

function unknownNeed(key: string, word: string): string {
  const meant = nearest(key, needWords)
  if (meant !== undefined) return `did you mean ${meant}?`
  return `there are: ${needWords.join(", ")}; a label of the node is written label.${word}`
}

function badNeed(word: string, remedy: string): UsageError {
  return new UsageError(`--needs: no need is called ${JSON.stringify(word)}`, remedy)
}

function wholeNumber(word: string, value: string): number {
  if (/^[1-9]\d{0,5}$/.test(value)) return Number(value)
  throw new UsageError(
    `--needs ${word}: must be a whole number of at least 1`,
    "write, for example: --needs cores=4",
  )
}

function limitsOf({ memory, cpus, pids, openFiles }: JobOptions): Limits | undefined {
  const limits: Limits = {
    ...(memory !== undefined && {
      memoryBytes: atLeast(size(memory, "--memory"), 1 << 20, "--memory 1MiB"),
    }),
    ...(cpus !== undefined && { cpus: atLeast(cpus, 0.01, "--cpus 0.01") }),
    ...(pids !== undefined && { pids: atLeast(Math.trunc(pids), 1, "--pids 1") }),
    ...(openFiles !== undefined && {
      openFiles: atLeast(Math.trunc(openFiles), 16, "--open-files 16"),
    }),
  }
  return Object.keys(limits).length === 0 ? undefined : limits
}

function atLeast(value: number, least: number, written: string): number {
  if (value >= least) return value
  const [flag, floor] = written.split(" ")
  throw new UsageError(`${flag}: too little for any program to start`, `at least: ${floor}`)
}

function size(text: string, flag: string): number {
  const bytes = parseSize(text)
  if (bytes !== undefined) return bytes
  throw new UsageError(`${flag}: ${JSON.stringify(text)} is no size`, "write e.g. 512MiB or 2GiB")
}
