/** storage: the write-ahead log, snapshots, the LevelDB stores, identity and blobs in one data directory. */
export { blobFile, type BlobStore, createBlobStore } from "./blob-store.ts"
export { createIdentityStore, type IdentityStore } from "./identity-store.ts"
export { createLocalStore, type LocalStore } from "./local-store.ts"
export { lockDirectory } from "./lock.ts"
export { createLogStore, type LogStore, type LogStoreOptions, type OpenedLog } from "./log-store.ts"
export { createSnapshotStore, type SnapshotStore } from "./snapshot-store.ts"
export { createTableStore, type TableStore, type TableWrite } from "./table-store.ts"
