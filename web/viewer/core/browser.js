// For the linker: what browser.hpp declares is not missing. web/viewer/core.ts has it.
mergeInto(LibraryManager.library, { progress: () => {} });
