/** Streams name their run by id: a label may come to mean a newer run while they last. */
import type { NodeFace } from "../node/index.ts"

/** The id behind a label, asked for once; ids stay as they are. */
export async function pinned(
  face: NodeFace,
  run: string,
  options: { readonly signal: AbortSignal },
): Promise<string> {
  if (/^r-\d+(\.\d+)?$/.test(run)) return run
  return (await face.getRun(run, options)).id
}
