# cmake -DPREFIX=P -P CopyLibraries.cmake: copies what the tool installed in P needs beyond glibc, the C++ runtime and llama.cpp
# into its lib/moescope, so that an archive runs on other distributions.
cmake_policy(VERSION 3.25)
file(GET_RUNTIME_DEPENDENCIES
    EXECUTABLES ${PREFIX}/bin/moescope
    DIRECTORIES ${PREFIX}/lib/moescope
    RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing
    PRE_EXCLUDE_REGEXES "^(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libstdc\\+\\+|libgcc_s)[-.]"
    POST_EXCLUDE_REGEXES "/lib/moescope/")
if(missing)
    message(FATAL_ERROR "not found: ${missing}")
endif()
foreach(library ${libraries})
    file(COPY ${library} DESTINATION ${PREFIX}/lib/moescope FOLLOW_SYMLINK_CHAIN)
endforeach()
