/**
 * `@chassis/core`: vector search in one crash-safe file, inside your process.
 *
 * @packageDocumentation
 */
/// <reference lib="esnext.disposable" preserve="true" />
export { CHASSIS_ERROR_CODES, ChassisError } from './errors.js'
export type { ChassisErrorCode } from './errors.js'
export { SearchResult } from './results.js'
export type { SearchRow } from './results.js'
export type * from './types.js'
export { VectorIndex } from './vector-index.js'
