/** assembly: picks the real parts and joins them into a running node. */
export { type AssemblyHooks, type RunningNode, startNode } from "./start.ts"
export { type HostAbilities, hostAbilities } from "./host-abilities.ts"
export { openRecovery, readPosition, type Recovery } from "./recover.ts"
