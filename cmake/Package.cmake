# Packages of an installation (scripts/package makes both): a .deb for Debian 12, which names the libraries that it needs, and a
# .tar.gz, which brings them along. The same sources give the same bytes: files carry the time in SOURCE_DATE_EPOCH.
set(CPACK_PACKAGE_NAME moescope)
set(CPACK_PACKAGE_VENDOR "the moescope authors")
set(CPACK_PACKAGE_CONTACT "the moescope authors <moescope@moescope.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "shows which experts Mixture-of-Experts models use")
set(CPACK_PACKAGE_DESCRIPTION
"moescope watches any llama.cpp program route its tokens to experts, without
changing the program, and turns what it saw into decisions: which experts are
hot, which are dead, what to prune, what to cache, what to place where.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/PackageFiles.cmake)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/cmake/PackageOptions.cmake)

set(CPACK_ARCHIVE_FILE_NAME moescope-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_ARCHIVE_UID 0)
set(CPACK_ARCHIVE_GID 0)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LLAMA_LIBRARY_DIR})
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libcairo2, fonts-dejavu-core, bash-completion")   # for charts; for Tab
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(WRITE ${PROJECT_BINARY_DIR}/triggers "activate-noawait ldconfig\n")   # for lib/libmoescope.so.N
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/triggers)
include(CPack)
