/** node: what a node does, over the parts it is handed. */
export type * from "./parts.ts"
export type { Caller, EventPage, Metric, NodeFace, Waiting } from "./face.ts"
export type { MergedQuery, MergedRecord } from "./merged-log.ts"
export { createNode, type TroupeNode } from "./node.ts"
export {
  type InspectedReplica,
  inspectReplica,
  type ReplicaPosition,
  writeIncarnation,
} from "./recovery.ts"
export type { NodeOptions } from "./options.ts"
export { type Timing, timingFrom } from "./timing.ts"
