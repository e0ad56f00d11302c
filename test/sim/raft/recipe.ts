/** A run as text, so that a failure that was made smaller can be run again from a file. */
import { z } from "zod"
import { mutants } from "./member.ts"
import { eventKinds, weathers } from "./profile.ts"
import type { RunOptions } from "./run.ts"

const whole = z.int().min(0)
const recipe = z.strictObject({
  seed: whole,
  size: whole.min(1).max(7),
  steps: whole.min(1),
  without: z.array(z.enum(weathers)),
  mutant: z.enum(mutants).optional(),
  events: z
    .array(z.strictObject({ at: z.number().min(0), kind: z.enum(eventKinds), dice: whole }))
    .optional(),
})

/** JSON that `readRecipe` makes the same run of. */
export function writeRecipe(options: RunOptions): string {
  const { seed, size, steps, without = new Set(), mutant, events } = options
  const fields = { seed, size, steps, without: [...without], mutant, events }
  return `${JSON.stringify(recipe.parse(fields), undefined, 1)}\n`
}

/** A sentence where the text is no run. */
export function readRecipe(text: string): RunOptions | string {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return (error as Error).message
  }
  const read = recipe.safeParse(json)
  if (!read.success) return z.prettifyError(read.error)
  return { ...read.data, without: new Set(read.data.without) }
}
