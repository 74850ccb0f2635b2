import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vite"

/** Nothing inline: the page runs under `script-src 'self'; style-src 'self'`. */
export default defineConfig({
  plugins: [svelte()],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  clearScreen: false
})
