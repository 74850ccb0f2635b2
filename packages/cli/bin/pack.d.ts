export type Stamp = readonly [path: string, size: number, changed: number]
export declare const packPath: (cache: string, name: string) => string
export declare const stampOf: (path: string) => Stamp
export declare const currentPack: (cache: string, name: string) => string | undefined
export declare const usePack: (cache: string, name: string) => Promise<boolean>
