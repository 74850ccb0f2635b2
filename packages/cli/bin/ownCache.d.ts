export declare const cacheDirectory: (env: Readonly<Record<string, string | undefined>>) => string
export declare const isOurs: (path: string) => boolean
export declare const ownCache: (cache: string, name: string) => string | undefined
