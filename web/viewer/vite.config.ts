import { defineConfig } from 'vite';
import { viteSingleFile } from 'vite-plugin-singlefile';

// scripts/install-viewer.mjs finishes the file.
export default defineConfig({
  root: import.meta.dirname,
  plugins: [viteSingleFile({ removeViteModuleLoader: true })],
  build: {
    target: 'es2022',
    outDir: '../dist/viewer',
    emptyOutDir: true,
    assetsInlineLimit: 1e8,
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  worker: { format: 'iife' },
});
