/** One bug of the bug bank (consensus B-01 to B-33), or one broken rule (C-nn), as a change of a few characters, and the tests that must notice it. */

export interface Mutant {
  /** `B-20`, `C-17` or `S-03`, with a letter where the bug has several forms. */
  readonly id: string
  readonly what: string
  readonly file: string
  /** Stands in the file exactly once. */
  readonly find: string
  readonly replace: string
  readonly tests: readonly string[]
}

export function unit(...files: readonly string[]): readonly string[] {
  return files.map((file) => `test/unit/${file}.test.ts`)
}

/** The file with the bug. A text that moved or became ambiguous is an error: then the bug is not tested any more. */
export function mutate(text: string, { id, file, find, replace }: Mutant): string {
  const places = text.split(find).length - 1
  if (places !== 1) throw new Error(`${id}: ${places} places in ${file} read\n${find}`)
  return text.replace(find, () => replace)
}
