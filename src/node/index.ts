/** node: what a node does, over the parts it is handed. */
export type * from "./parts.ts"
