/** platform: clock, chance, log, and running a short tool with caps. */
export type * from "./types.ts"
