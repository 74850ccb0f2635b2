/** Whose runs a home's owner sees over its own socket. */
export const TENANT = "default"
