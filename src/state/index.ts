/** state: the replicated tables. `apply` is a pure function of the rows it names and one entry. */
export type * from "./types.ts"
