# Included by ggml's own configure (CMAKE_PROJECT_ggml_INCLUDE in LlamaCpp.cmake): what this compiler gets wrong there.
#
# GCC before 12.4 and 13.3 tells its optimiser that _tile_loadconfig reads 8 of the 64 bytes of the tile configuration
# (GCC bug 114098). The other stores are dropped, and on a processor with AMX the first quantised matrix product is an
# illegal instruction.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14
   AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    cmake_language(DEFER CALL target_compile_options ggml-cpu PRIVATE -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()
