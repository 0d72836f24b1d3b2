/**
 * NumPy's `.npy` format, versions 1 to 3: header, and elements as typed arrays.
 *
 * Little-endian arrays in C order are read; others are refused with the line of Python that converts them.
 */
import { inputError } from '../errors.js'
import type { ByteSource } from './source.js'

/** A larger header is damage, not a description of an array. */
const MAX_HEADER = 1 << 20

type Values = Float32Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array

interface ElementType {
  readonly bytes: number
  /** Values out of a copy of their bytes, aligned and little-endian. */
  decode(data: Uint8Array): Values
}

const FLOATS: Record<string, ElementType> = {
  '<f2': { bytes: 2, decode: (data) => Float32Array.from(words16(data), halfToFloat) },
  '<f4': { bytes: 4, decode: (data) => new Float32Array(own(data)) },
  // Each value is rounded to the nearest 32-bit float, ties to even; beyond its range it becomes infinite.
  '<f8': { bytes: 8, decode: (data) => Float32Array.from(new Float64Array(own(data))) },
}

const INTEGERS: Record<string, ElementType> = {
  '<i4': { bytes: 4, decode: (data) => new Int32Array(own(data)) },
  '<u4': { bytes: 4, decode: (data) => new Uint32Array(own(data)) },
  '<i8': { bytes: 8, decode: (data) => new BigInt64Array(own(data)) },
  '<u8': { bytes: 8, decode: (data) => new BigUint64Array(own(data)) },
}

export interface Npy {
  readonly source: ByteSource
  readonly shape: readonly number[]
  readonly type: ElementType
}

/** Reads the header of an array of floats or integers. */
export async function openNpy(source: ByteSource, kind: 'floats' | 'integers'): Promise<Npy> {
  const name = source.name
  const start = await source.read(8)
  if (start.length < 8 || start.toString('latin1', 0, 6) !== '\x93NUMPY') {
    throw inputError(`${name} is not a .npy file`, 'save the array with numpy.save, or pass --format')
  }
  const major = start[6]!
  if (major < 1 || major > 3) {
    throw inputError(
      `${name} has version ${major} of the .npy format; 1 to 3 are known`,
      'save it with numpy.save',
    )
  }
  const lengthBytes = await source.read(major === 1 ? 2 : 4)
  const length =
    lengthBytes.length < (major === 1 ? 2 : 4) ? -1 : lengthBytes.readUIntLE(0, lengthBytes.length)
  const header = length < 0 || length > MAX_HEADER ? undefined : await source.read(length)
  if (header === undefined || header.length < length) {
    throw inputError(`${name} ends inside its header`, 'the copy is incomplete: fetch or save it again')
  }
  return { source, ...parseHeader(name, header.toString(major === 3 ? 'utf8' : 'latin1'), kind) }
}

function parseHeader(name: string, header: string, kind: 'floats' | 'integers'): Omit<Npy, 'source'> {
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1]
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1]
  const shapeText = /'shape'\s*:\s*\(([\d,\sL]*)\)/.exec(header)?.[1]
  if (/'descr'\s*:\s*\[/.test(header)) {
    throw inputError(`${name} is a structured array`, `save one of its fields: numpy.save(out, a['vector'])`)
  }
  if (descr === undefined || fortran === undefined || shapeText === undefined) {
    throw inputError(`${name} has a header that is not NumPy's`, 'save the array with numpy.save')
  }
  const shape = shapeText
    .split(',')
    .map((part) => part.trim().replace('L', ''))
    .filter((part) => part !== '')
    .map(Number)
  const types = kind === 'floats' ? FLOATS : INTEGERS
  const convert = kind === 'floats' ? `numpy.save(out, a.astype('<f4'))` : `numpy.save(out, a.astype('<u8'))`
  const type = types[descr]
  if (type === undefined) {
    const what = descr.startsWith('>')
      ? 'big-endian values'
      : descr.startsWith('|O')
        ? 'Python objects'
        : 'values'
    throw inputError(
      `${name} holds ${what} of type ${descr}; read are ${Object.keys(types).join(', ')}`,
      convert,
    )
  }
  if (fortran === 'True' && shape.filter((extent) => extent > 1).length > 1) {
    throw inputError(
      `${name} is in Fortran order`,
      'save it in C order: numpy.save(out, numpy.ascontiguousarray(a))',
    )
  }
  return { shape, type }
}

/** The values of whole rows, at most `rowsAtOnce` rows at a time. Checks that the file is as long as it says. */
export async function* elements(
  npy: Npy,
  width: number,
  rowsAtOnce: number,
): AsyncGenerator<Values, void, undefined> {
  const { source, shape, type } = npy
  const rows = shape.reduce((product, extent) => product * extent, 1) / Math.max(1, width)
  const stride = width * type.bytes
  for (let row = 0; row < rows;) {
    const wanted = Math.min(rowsAtOnce, rows - row)
    const data = await source.read(wanted * stride)
    if (data.length < wanted * stride) {
      const at = row + Math.floor(data.length / stride)
      throw inputError(
        `${source.name} ends in row ${at} of ${rows}`,
        'the copy is incomplete: fetch or save it again',
        { source: source.name, row: at },
      )
    }
    yield type.decode(data)
    row += wanted
  }
  if ((await source.read(1)).length > 0) {
    throw inputError(
      `${source.name} goes on after its last row`,
      'a .npy file holds one array; save them apart',
    )
  }
}

/** A buffer of its own: typed arrays need alignment, and pieces of a stream have none. */
function own(data: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(data.length)
  new Uint8Array(copy).set(data)
  return copy
}

function words16(data: Uint8Array): Uint16Array {
  return new Uint16Array(own(data))
}

/** The value of IEEE 754 half precision bits, exact in 32 bits. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
