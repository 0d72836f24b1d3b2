/**
 * The same module for `import`: it hands on the CommonJS one, so that both share one class.
 */
export { CHASSIS_ERROR_CODES, ChassisError, SearchResult, VectorIndex } from './index.js'
export type * from './index.js'
