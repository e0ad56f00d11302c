/** Whether an answer is what it should be. */
import type { z } from "zod"
import { TroupeError } from "../schema/index.ts"

/** Throws ERR_PROTOCOL. Fields that only a newer node knows are let through: its older clients go on working. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, url: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const wrong = result.error.issues.find((issue) => issue.code !== "unrecognized_keys")
  // Everything that the type names is there and right; what is more than that does no harm.
  if (!wrong) return value as T
  const reason = `${wrong.path.map(String).join(".") || "the answer"}: ${wrong.message}`
  throw new TroupeError("ERR_PROTOCOL", `${url} answered what this client cannot read: ${reason}`, {
    where: url,
    reason,
  })
}
