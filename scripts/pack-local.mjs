/**
 * Writes the tarballs as they are published: the facade, which names the platform packages as optional dependencies,
 * and each platform package whose native library is here. The checkout itself never names them, because a lock file
 * cannot hold packages that are not published yet.
 *
 *   node scripts/pack-local.mjs [--all] [--out FOLDER]      --all: every platform, or fail (for a release)
 */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { npm, root } from './setup.mjs'

const args = process.argv.slice(2)
const all = args.includes('--all')
const out = resolve(root, args.includes('--out') ? args[args.indexOf('--out') + 1] : 'pack')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const platforms = readdirSync(join(root, 'npm'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)

/** ELF `e_machine`, Mach-O CPU type and PE machine of the two processors. */
const MACHINES = {
  linux: { x64: 0x3e, arm64: 0xb7, magic: 0x464c457f, at: () => 18, bits: 16 },
  darwin: { x64: 0x01000007, arm64: 0x0100000c, magic: 0xfeedfacf, at: () => 4, bits: 32 },
  win32: { x64: 0x8664, arm64: 0xaa64, magic: 0x5a4d, at: (b) => b.readUInt32LE(60) + 4, bits: 16 },
}

/** A package with the wrong library, or a cut one, installs without complaint and fails at its users: refuse it here. */
function checkLibrary(file, platform) {
  const [system, processor] = platform.split('-')
  const { magic, at, bits, [processor]: machine } = MACHINES[system]
  const bytes = readFileSync(file)
  if (bytes.length < 100_000) throw new Error(`${file} has only ${bytes.length} bytes`)
  const head = system === 'win32' ? bytes.readUInt16LE(0) : bytes.readUInt32LE(0)
  const found = bits === 16 ? bytes.readUInt16LE(at(bytes)) : bytes.readUInt32LE(at(bytes))
  if (head !== magic || found !== machine) throw new Error(`${file} is no library for ${platform}`)
}

function checkVersions() {
  const cargo = /\[workspace\.package\][^[]*?\nversion = "([^"]+)"/.exec(
    readFileSync(join(root, 'Cargo.toml'), 'utf8'),
  )
  const found = new Map([['Cargo.toml', cargo?.[1]]])
  for (const platform of platforms) {
    const path = `npm/${platform}/package.json`
    found.set(path, JSON.parse(readFileSync(join(root, path), 'utf8')).version)
  }
  const wrong = [...found].filter(([, version]) => version !== manifest.version)
  if (wrong.length > 0) {
    const list = wrong.map(([path, version]) => `${path}: ${version}`).join(', ')
    throw new Error(`package.json is ${manifest.version}, but ${list}; npx napi version brings npm/ in step`)
  }
}

/** Copies a package to a folder of its own, so that packing changes nothing in the checkout. */
function stage(fill) {
  const folder = mkdtempSync(join(tmpdir(), 'chassis-pack-'))
  try {
    fill(folder)
    const stdio = ['ignore', 'ignore', 'inherit']
    npm(['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', out], { cwd: folder, stdio })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function packFacade() {
  const { devDependencies, scripts, ava, napi, ...published } = manifest
  const names = platforms.map((platform) => [`${napi.packageName}-${platform}`, manifest.version])
  published.optionalDependencies = Object.fromEntries(names)
  stage((folder) => {
    writeFileSync(join(folder, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
    for (const name of [...manifest.files, 'README.md']) {
      if (existsSync(join(root, name))) cpSync(join(root, name), join(folder, name), { recursive: true })
    }
  })
}

function packPlatform(platform) {
  const name = `chassis.${platform}.node`
  // A release collects the libraries of all platforms in npm/; a build leaves this machine's own at the top.
  const library = [join(root, 'npm', platform, name), join(root, name)].find((file) => existsSync(file))
  if (library === undefined) {
    if (all) throw new Error(`${name} is missing`)
    return false
  }
  checkLibrary(library, platform)
  stage((folder) => {
    cpSync(join(root, 'npm', platform), folder, { recursive: true })
    copyFileSync(library, join(folder, name))
    for (const text of ['LICENSE-APACHE', 'LICENSE-MIT']) copyFileSync(join(root, text), join(folder, text))
  })
  return true
}

try {
  checkVersions()
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  packFacade()
  if (!platforms.map(packPlatform).includes(true))
    throw new Error('no native library found: run npm run build first')
  for (const name of readdirSync(out).sort()) {
    console.log(`${join(out, name)}  ${(statSync(join(out, name)).size / 1000).toFixed(0)} kB`)
  }
} catch (error) {
  console.error(`FAILED: ${error.message}`)
  process.exitCode = 1
}
