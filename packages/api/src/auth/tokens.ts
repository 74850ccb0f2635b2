/** Bearer secrets: 256 random bits, base64url, with a prefix that says what they are. At rest only their sha-256 is kept. */
import { createHash, randomBytes } from "node:crypto"

export type TokenKind = "hyl" | "hys" | "hyk"

/** `hyl` login link, `hys` session, `hyk` API key. */
export const newToken = (kind: TokenKind): string => `${kind}_${randomBytes(32).toString("base64url")}`

export const isToken = (kind: TokenKind, value: string): boolean => value.startsWith(`${kind}_`) && /^[\w-]{43}$/.test(value.slice(4))

/** High-entropy secrets need no slow hash; looking a row up by its hash leaks no useful timing. */
export const hashToken = (token: string): string => createHash("sha256").update(token).digest("hex")
