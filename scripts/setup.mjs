/**
 * Makes a checkout ready to run: installs what `package-lock.json` says, builds the native library and the facade.
 * Each step is skipped when its output is newer than its inputs. Needs Node and Rust, and no package of its own.
 *
 *   node scripts/setup.mjs [--install-only]
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Runs a program in the checkout with its output shown; stops everything when it fails. */
export function run(program, args, options = {}) {
  const done = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options })
  if (done.error?.code === 'ENOENT') throw new Error(`${program} is not installed or not in PATH`)
  if (done.error) throw done.error
  if (done.status !== 0)
    throw new Error(`${program} ${args.join(' ')} failed with status ${done.status ?? done.signal}`)
  return done.stdout
}

/** Runs npm, wherever it lives. */
export function npm(args, options = {}) {
  const cli = process.env.npm_execpath
  if (cli?.endsWith('.js')) return run(process.execPath, [cli, ...args], options)
  return run('npm', args, { shell: process.platform === 'win32', ...options })
}

/** Runs a tool of node_modules. */
export function tool(name, args, options = {}) {
  const file = join(root, 'node_modules/.bin', process.platform === 'win32' ? `${name}.cmd` : name)
  return run(file, args, { shell: process.platform === 'win32', ...options })
}

/** The newest change of files and folders; 0 when there are none. */
function newest(paths) {
  let time = 0
  for (const path of paths) {
    if (!existsSync(path)) continue
    const stat = statSync(path)
    const below = stat.isDirectory() ? newest(readdirSync(path).map((name) => join(path, name))) : 0
    time = Math.max(time, stat.mtimeMs, below)
  }
  return time
}

const at = (...paths) => paths.map((path) => join(root, path))
const libraries = () => at(...readdirSync(root).filter((name) => /^chassis\..*\.node$/.test(name)))

/** Installs `node_modules` of the checkout, or of a folder in it with its own lock. */
export function install(folder = '.') {
  const [lock, done] = at(join(folder, 'package-lock.json'), join(folder, 'node_modules/.package-lock.json'))
  if (newest([done]) >= newest([lock])) return
  console.error(`installing the dependencies of ${folder === '.' ? 'the checkout' : folder} …`)
  // Not `npm ci`: it refuses a lock without the optional packages of platforms that a registry does not carry.
  npm(['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: join(root, folder),
  })
}

/** Builds what is older than its sources. */
export function build() {
  const core = ['Cargo.toml', 'src'].map((name) => `crates/chassis-core/${name}`)
  if (newest(libraries()) < newest(at('Cargo.toml', 'Cargo.lock', 'build.rs', 'src', ...core))) {
    console.error('building the native library …')
    npm(['run', '--silent', 'build:native'])
  }
  if (newest(at('dist/index.js')) < newest(at('ts', 'index.d.ts', 'tsconfig.json', 'tsconfig.build.json'))) {
    console.error('compiling the facade …')
    npm(['run', '--silent', 'build:ts'])
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  install()
  if (!process.argv.includes('--install-only')) build()
}
