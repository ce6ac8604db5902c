# Run by cmake --install --component libraries: copies what the installed tool needs beyond glibc, the C++ runtime and
# llama.cpp into lib/moescope, so that an archive runs on other distributions.
cmake_policy(VERSION 3.25)
set(prefix "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
file(GET_RUNTIME_DEPENDENCIES
    EXECUTABLES ${prefix}/bin/moescope
    DIRECTORIES ${prefix}/lib/moescope
    RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing
    PRE_EXCLUDE_REGEXES "^(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libstdc\\+\\+|libgcc_s)[-.]"
    POST_EXCLUDE_REGEXES "/lib/moescope/")
if(missing)
    message(FATAL_ERROR "not found: ${missing}")
endif()
foreach(library ${libraries})
    file(INSTALL DESTINATION ${prefix}/lib/moescope TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN FILES ${library})
endforeach()
