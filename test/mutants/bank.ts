/** The whole bug bank (B) and the rules that were broken unnoticed (C), in order. */
import { consensusMutants } from "./consensus.ts"
import type { Mutant } from "./mutant.ts"
import { nodeMutants } from "./node.ts"
import { ruleMutants } from "./rules.ts"
import { storageMutants } from "./storage.ts"

export const bugCount = 33

export const mutants: readonly Mutant[] = [
  ...consensusMutants,
  ...storageMutants,
  ...nodeMutants,
  ...ruleMutants,
].toSorted((left, right) => (left.id < right.id ? -1 : 1))
