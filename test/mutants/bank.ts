/** The whole bug bank (B), the rules that were broken unnoticed (C) and those of the scheduler (S), in order. */
import { consensusMutants } from "./consensus.ts"
import type { Mutant } from "./mutant.ts"
import { nodeMutants } from "./node.ts"
import { ruleMutants } from "./rules.ts"
import { schedulerMutants } from "./scheduler.ts"
import { storageMutants } from "./storage.ts"

export const bugCount = 33

export const mutants: readonly Mutant[] = [
  ...consensusMutants,
  ...storageMutants,
  ...nodeMutants,
  ...ruleMutants,
  ...schedulerMutants,
].toSorted((left, right) => (left.id < right.id ? -1 : 1))
