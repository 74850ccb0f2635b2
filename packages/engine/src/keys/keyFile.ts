/**
 * One key a file: `<home>/keys/<name>`, `/` in a name written as `%2F`, mode 0600 in a 0700 directory. Whole or absent: a temporary file
 * is fsynced and then linked (create) or renamed (replace) into place.
 */
import { randomBytes } from "node:crypto"
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/
const MAXIMUM_BYTES = 1 << 20

/** Fails with a plain sentence; never holds key material. */
export class KeyFileFault extends Error {}

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "")

export const keyPath = (directory: string, name: string): string => {
  if (!NAME.test(name) || name.length > 200) throw new KeyFileFault(`"${name.slice(0, 60)}" is not a key name: use letters, digits, ".", "_" and "-", in parts joined by "/".`)
  return join(directory, name.replaceAll("/", "%2F"))
}

export const prepareKeyDirectory = async (directory: string): Promise<void> => {
  await fs.mkdir(directory, { recursive: true, mode: 0o700 })
  const stat = await fs.lstat(directory)
  if (!stat.isDirectory()) throw new KeyFileFault(`${directory} is not a directory: remove what stands there.`)
  // Who could write here could have planted keys; who could only list it has learnt names, and learns no more.
  if ((stat.mode & 0o022) !== 0) throw new KeyFileFault(`Others may write to the key directory ${directory} (mode ${(stat.mode & 0o777).toString(8)}). If nobody has, run: chmod 700 ${directory}`)
  if ((stat.mode & 0o077) !== 0) await fs.chmod(directory, 0o700)
}

/** Undefined where there is no such key. Refuses links and files that others may read or write. */
export const readKeyFile = async (directory: string, name: string): Promise<string | undefined> => {
  const path = keyPath(directory, name)
  const handle = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error) => {
    if (codeOf(error) === "ENOENT") return undefined
    if (codeOf(error) === "ELOOP") throw new KeyFileFault(`${path} is a symbolic link: put the key file itself there.`)
    throw error
  })
  if (handle === undefined) return undefined
  try {
    const stat = await handle.stat()
    if (!stat.isFile() || stat.size > MAXIMUM_BYTES) throw new KeyFileFault(`${path} is not a key file.`)
    if ((stat.mode & 0o077) !== 0) throw new KeyFileFault(`Others may read the key file ${path} (mode ${(stat.mode & 0o777).toString(8)}). If nobody has, run: chmod 600 ${path}. If in doubt, destroy the key and make a new one.`)
    if (process.getuid !== undefined && stat.uid !== process.getuid()) throw new KeyFileFault(`The key file ${path} belongs to another user (uid ${stat.uid}).`)
    return await handle.readFile("utf8")
  } finally {
    await handle.close()
  }
}

const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await fs.open(directory, constants.O_RDONLY)
  await handle.sync().catch((error) => (codeOf(error) === "EINVAL" ? undefined : Promise.reject(error))).finally(() => handle.close())
}

/** Hidden name, so that `keyNames` never lists it. */
const withTemporary = async <A>(directory: string, value: string, use: (path: string) => Promise<A>): Promise<A> => {
  const path = join(directory, `.${randomBytes(12).toString("hex")}.tmp`)
  try {
    const handle = await fs.open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)
    await handle.writeFile(value).then(() => handle.sync()).finally(() => handle.close())
    return await use(path)
  } finally {
    await fs.rm(path, { force: true })
  }
}

/** False where the key was there already; then nothing is changed. */
export const createKeyFile = (directory: string, name: string, value: string): Promise<boolean> =>
  withTemporary(directory, value, async (temporary) => {
    try {
      await fs.link(temporary, keyPath(directory, name))
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false
      throw error
    }
    await syncDirectory(directory)
    return true
  })

export const replaceKeyFile = (directory: string, name: string, value: string): Promise<void> =>
  withTemporary(directory, value, async (temporary) => {
    await fs.rename(temporary, keyPath(directory, name))
    await syncDirectory(directory)
  })

/** Overwrites before unlinking: on journalled or flash media that is best effort, and no more is promised. */
export const destroyKeyFile = async (directory: string, name: string): Promise<void> => {
  const path = keyPath(directory, name)
  const handle = await fs.open(path, constants.O_WRONLY | constants.O_NOFOLLOW).catch((error) => (codeOf(error) === "ENOENT" ? undefined : Promise.reject(error)))
  if (handle === undefined) return
  try {
    const { size } = await handle.stat()
    await handle.write(randomBytes(Math.min(size, MAXIMUM_BYTES)), 0, undefined, 0)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await fs.rm(path, { force: true })
  await syncDirectory(directory)
}

export const keyNames = async (directory: string, prefix: string): Promise<ReadonlyArray<string>> =>
  (await fs.readdir(directory))
    .filter((file) => !file.startsWith("."))
    .map((file) => file.replaceAll("%2F", "/"))
    .filter((name) => NAME.test(name) && name.startsWith(prefix))
    .toSorted()
