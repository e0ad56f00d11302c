/** schema: the nouns every room shares, their checks, and the error codes. */
export * from "./errors.ts"
export * from "./incarnation.ts"
export * from "./plan.ts"
export * from "./member.ts"
export * from "./output.ts"
export * from "./run.ts"
export * from "./requests.ts"
export * from "./versions.ts"
