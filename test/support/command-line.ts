/** What somebody types after a tool's name. What cannot be meant ends in its usage and exit 2, which is never a finding. */

/** The arguments are wrong: a sentence for who typed them. */
export class UsageError extends Error {}

export interface Tool {
  readonly usage: string
  /** The exit code. UsageError, or an error of parseArgs: the arguments are wrong. */
  main(args: readonly string[]): number | Promise<number>
  print(line: string): void
  complain(line: string): void
}

/** The exit code: 0 for `--help`, 2 for wrong arguments. Any other error is thrown on. */
export async function runTool(tool: Tool, args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    tool.print(tool.usage)
    return 0
  }
  try {
    return await tool.main(args)
  } catch (error) {
    if (!isWrongUse(error)) throw error
    tool.complain(`${error.message}\n${tool.usage}`)
    return 2
  }
}

/** As the process that this is. */
export async function runAsProcess(usage: string, main: Tool["main"]): Promise<void> {
  const tool = { usage, main, print: console.log, complain: console.error }
  process.exitCode = await runTool(tool, process.argv.slice(2))
}

function isWrongUse(error: unknown): error is Error {
  if (error instanceof UsageError) return true
  if (!(error instanceof Error) || !("code" in error)) return false
  return String(error.code).startsWith("ERR_PARSE_ARGS_")
}

interface Range {
  readonly min: number
  readonly max?: number
}

/** Digits alone: `1e3`, ` 7`, `0x10` and nothing at all are refused. */
export function wholeNumber(name: string, text: string, { min, max }: Range): number {
  const value = Number(text)
  const highest = max ?? Number.MAX_SAFE_INTEGER
  if (/^\d+$/.test(text) && value >= min && value <= highest) return value
  const range = max === undefined ? `from ${min} on` : `from ${min} to ${max}`
  throw new UsageError(`--${name} is a whole number ${range}, not ${JSON.stringify(text)}`)
}

/** Decimal digits, perhaps with a point. */
export function numberFrom(name: string, text: string, { min, max }: Range): number {
  const value = Number(text)
  const highest = max ?? Number.MAX_SAFE_INTEGER
  if (/^\d+(?:\.\d+)?$/.test(text) && value >= min && value <= highest) return value
  const range = max === undefined ? `from ${min} on` : `from ${min} to ${max}`
  throw new UsageError(`--${name} is a number ${range}, not ${JSON.stringify(text)}`)
}

/** `--seed` and `--seeds`: the first seed and how many. */
export function seedRange(values: { readonly seed: string; readonly seeds: string }): {
  readonly first: number
  readonly count: number
} {
  const first = wholeNumber("seed", values.seed, { min: 0 })
  const count = wholeNumber("seeds", values.seeds, { min: 1 })
  if (!Number.isSafeInteger(first + count)) throw new UsageError("--seed is too large")
  return { first, count }
}
