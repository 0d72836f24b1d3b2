/** Where the packages lie that sets are made of, and what to do when one is not there. */
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('..', import.meta.url))

/** The folder of a package of this folder's package.json, in the version that stands there. */
export function packageFolder(name) {
  const wanted = JSON.parse(fs.readFileSync(path.join(HERE, 'package.json'), 'utf8')).dependencies[name]
  const folder = path.join(HERE, 'node_modules', name)
  const about = path.join(folder, 'package.json')
  const found = fs.existsSync(about) ? JSON.parse(fs.readFileSync(about, 'utf8')).version : 'nothing'
  if (found !== wanted)
    throw new Error(
      `the npm package ${name} ${wanted} is needed, ${found} is installed: ` +
        'run `npm ci --ignore-scripts` in benches/sets',
    )
  return folder
}

/** A file of a Debian package. */
export function debianFile(debianPackage, file) {
  if (!fs.existsSync(file))
    throw new Error(
      `the Debian package ${debianPackage} is needed (${path.basename(file)} is not there): ` +
        `run \`apt-get install ${debianPackage}\``,
    )
  return file
}
