/** A broken promise: of the core, or of the simulated world itself. */
export class InvariantError extends Error {
  override readonly name = "InvariantError"
}

export function hold(isTrue: boolean, message: () => string): void {
  if (!isTrue) throw new InvariantError(message())
}
