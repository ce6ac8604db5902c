import { defineConfig } from 'vite';
import { viteSingleFile } from 'vite-plugin-singlefile';

// scripts/install-page.mjs gives the finished file its Content-Security-Policy.
export default defineConfig({
  plugins: [viteSingleFile({ removeViteModuleLoader: true })],
  build: { target: 'es2022', assetsInlineLimit: 1e8, cssCodeSplit: false, reportCompressedSize: false },
});
