/** bundles: pack, hash, verify, diff and analyse the archive of a run. */
export { type BundleBlobs, type Bundles, type BundleTree, createBundles } from "./bundles.ts"
export type { BundleInput, RoleLaunch } from "./describe.ts"
export { packDirectory, unpackBundle, zipDirectory } from "./directory.ts"
export { type BundleInfo, bundleInfo, formatInfoJson, formatInfoText } from "./info.ts"
export { formatVerifyJson, formatVerifyText, verifyBundle, type VerifyReport } from "./verify.ts"
