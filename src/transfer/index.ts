/** transfer: blobs between nodes, verified and resumable. */
export { createTransfer } from "./transfer.ts"
export type {
  BlobMesh,
  BlobStream,
  LocalBlobs,
  Transfer,
  TransferOptions,
  TransferParts,
} from "./types.ts"
