/** manifests: documents → checked specs → plans. Errors carry line and column. */
export { isIpAddress } from "./address.ts"
export { type CompileContext, type Compiled, compileManifest, manifestPhases } from "./compile.ts"
export { compileJob, type JobContext, unknownNode } from "./job.ts"
export { manifestBaseline, manifestFiles, type ParsedManifest, parseManifest } from "./manifest.ts"
export { resolvedYaml } from "./resolved.ts"
export { parseSize } from "./size.ts"
export type { ManifestSpec, RoleSpec } from "./spec.ts"
