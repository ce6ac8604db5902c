# Flags that every moescope target carries, and the one way to declare a library.
# llama.cpp is built apart (LlamaCpp.cmake) and gets none of these.

add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra>
                    $<$<COMPILE_LANGUAGE:CXX>:-Wshadow> $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>)

if(MOESCOPE_SANITIZE)
    add_compile_options(-fsanitize=${MOESCOPE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${MOESCOPE_SANITIZE})
endif()

if(MOESCOPE_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)   # coverage for libFuzzer; tests/fuzz links its main
endif()

# Paths relative to the checkout, and precompiled headers, so that every checkout and build folder shares the cache.
find_program(CCACHE ccache)
if(CCACHE)
    set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
        CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
    set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

# How many files of a library that is compiled together make one translation unit. More make a whole build shorter and a
# rebuild after one change longer.
set(MOESCOPE_UNITY_BATCH 16 CACHE STRING "files per translation unit where files are compiled together")

# moescope_library(core [COLD] [TOGETHER] [SUBFOLDERS x y] DEPENDS a b): the static library moescope_core of all *.cpp in
# this folder and in the named ones below it. TOGETHER: several files are compiled at once, because the headers of JSON,
# options and formatting cost more than most files that include them. COLD: nothing in it is hot: together, and with -O1.
# Its public include path is src/, so a header is named by its stage: #include "trace/reader.hpp".
# What a folder may depend on is fixed in docs/architecture.md; tests/unit checks the includes.
function(moescope_library name)
    cmake_parse_arguments(arg "COLD;TOGETHER" "" "DEPENDS;SUBFOLDERS" ${ARGN})
    set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    foreach(folder ${arg_SUBFOLDERS})
        list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    endforeach()
    file(GLOB sources CONFIGURE_DEPENDS ${patterns})
    list(FILTER sources EXCLUDE REGEX "/main.cpp$")   # an executable's, where the folder has one
    add_library(moescope_${name} STATIC ${sources})
    target_include_directories(moescope_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(moescope_${name} PUBLIC ${arg_DEPENDS})
    if(arg_COLD)
        target_compile_options(moescope_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    endif()
    if(arg_COLD OR arg_TOGETHER)
        set_target_properties(moescope_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${MOESCOPE_UNITY_BATCH})
    endif()
endfunction()

# moescope_embed(SOURCES NAMESPACE NAME FILE): adds to the variable a source that holds the file's bytes as NAME_bytes and NAME_size.
function(moescope_embed sources namespace name file)
    set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
    set(script ${PROJECT_SOURCE_DIR}/cmake/EmbedFile.cmake)
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${output} -DNAMESPACE=${namespace} -DNAME=${name} -P ${script}
        DEPENDS ${file} ${script} COMMENT "Embedding ${name}" VERBATIM)
    set(${sources} ${${sources}} ${output} PARENT_SCOPE)
endfunction()
