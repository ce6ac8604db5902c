# llama.cpp: a source checkout (-DLLAMA_CPP_DIR=…, or the pinned one that scripts/setup unpacked), built once as
# shared libraries into a cache outside the build folder, whatever moescope's own build type or sanitizer is.
#
# Every GGML_* option given to this configure (-DGGML_CUDA=ON, -DGGML_VULKAN=ON, …) is handed on.
# Defines: llama::ggml (ggml-base), llama::llama, llama::common, the target llama_programs (what the tests run),
# and LLAMA_CPP_BIN (where libraries and programs lie; also linked as llama.cpp in the build folder).

set(LLAMA_CPP_COMMIT de3ff815ea7d559ee917f063901b8986f038abc6)   # v0.5.0; scripts/setup reads this line

if(DEFINED ENV{MOESCOPE_CACHE})
    set(default_cache $ENV{MOESCOPE_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(default_cache $ENV{XDG_CACHE_HOME}/moescope)
else()
    set(default_cache $ENV{HOME}/.cache/moescope)
endif()
set(MOESCOPE_CACHE_DIR ${default_cache} CACHE PATH "Where the pinned llama.cpp is unpacked and built")

string(SUBSTRING ${LLAMA_CPP_COMMIT} 0 12 commit12)
set(LLAMA_CPP_DIR ${MOESCOPE_CACHE_DIR}/llama.cpp-${commit12} CACHE PATH "llama.cpp source checkout")
if(NOT EXISTS ${LLAMA_CPP_DIR}/ggml/CMakeLists.txt)
    message(FATAL_ERROR "no llama.cpp source in ${LLAMA_CPP_DIR}: run scripts/setup, or give -DLLAMA_CPP_DIR=<checkout>")
endif()

include(${MOESCOPE_CACHE_DIR}/backend.cmake OPTIONAL)   # what scripts/setup --cuda or --vulkan chose
set(llama_options
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_RPC=ON
    -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF)
get_cmake_property(cached CACHE_VARIABLES)
set(ggml_options)
foreach(name ${cached})
    get_property(type CACHE ${name} PROPERTY TYPE)   # not a file that ggml's CMake package found
    if(name MATCHES "^CMAKE_CUDA_(ARCHITECTURES|COMPILER)$" OR (name MATCHES "^GGML_" AND NOT type MATCHES "PATH$"))
        list(APPEND llama_options -D${name}=${${name}})
        list(APPEND ggml_options ${name})
    endif()
endforeach()

# ggml compiles for this very processor, so a cache that moves to another one must not be used there.
set(cpu "unknown")
if(EXISTS /proc/cpuinfo)
    file(STRINGS /proc/cpuinfo cpu REGEX "^(model name|flags|Features)" LIMIT_COUNT 2)
endif()
file(SHA256 ${CMAKE_CURRENT_LIST_DIR}/GgmlFixes.cmake fixes)
string(SHA256 key "${llama_options};${CMAKE_CXX_COMPILER_VERSION};${cpu};${LLAMA_CPP_DIR};${fixes}")
string(SUBSTRING ${key} 0 12 key)
set(LLAMA_CPP_BUILD ${MOESCOPE_CACHE_DIR}/llama.cpp-${commit12}-build-${key})
set(LLAMA_CPP_BIN ${LLAMA_CPP_BUILD}/bin)
file(CREATE_LINK ${LLAMA_CPP_BIN} ${CMAKE_BINARY_DIR}/llama.cpp SYMBOLIC)   # a name that can be typed

if(NOT EXISTS ${LLAMA_CPP_BUILD}/build.ninja)
    message(STATUS "configuring llama.cpp in ${LLAMA_CPP_BUILD}")
    file(COPY ${CMAKE_CURRENT_LIST_DIR}/GgmlFixes.cmake DESTINATION ${LLAMA_CPP_BUILD})
    execute_process(COMMAND ${CMAKE_COMMAND} -S ${LLAMA_CPP_DIR} -B ${LLAMA_CPP_BUILD} -G Ninja ${llama_options}
                            -DCMAKE_PROJECT_ggml_INCLUDE=${LLAMA_CPP_BUILD}/GgmlFixes.cmake
                    OUTPUT_FILE ${CMAKE_BINARY_DIR}/llama-configure.log RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "llama.cpp does not configure: see ${CMAKE_BINARY_DIR}/llama-configure.log")
    endif()
endif()

# One target per ninja run.
# ggml-base is a target of its own, for programs that read files only.
set(llama_libraries llama llama-common ggml ggml-cpu ggml-rpc)
set(llama_outputs)
foreach(name llama llama-common ggml)
    list(APPEND llama_outputs ${LLAMA_CPP_BIN}/lib${name}.so)
endforeach()
add_custom_target(ggml_base
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/build_llama.sh ${LLAMA_CPP_BUILD} ggml-base
    BYPRODUCTS ${LLAMA_CPP_BIN}/libggml-base.so USES_TERMINAL COMMENT "ggml-base")
add_custom_target(llama_cpp
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/build_llama.sh ${LLAMA_CPP_BUILD} ${llama_libraries}
    DEPENDS ggml_base BYPRODUCTS ${llama_outputs} USES_TERMINAL COMMENT "llama.cpp libraries")
set(LLAMA_CPP_PROGRAMS llama-completion llama-server llama-perplexity llama-imatrix llama-speculative-simple
                       ggml-rpc-server)
add_custom_target(llama_programs
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/build_llama.sh ${LLAMA_CPP_BUILD} ${LLAMA_CPP_PROGRAMS}
    DEPENDS llama_cpp USES_TERMINAL COMMENT "llama.cpp programs that the tests run")

# llama_import(llama::ggml FILE libggml-base.so [FROM target that makes it] …): a library of llama.cpp.
function(llama_import target)
    cmake_parse_arguments(arg "" "FILE;FROM" "INCLUDES;LIBRARIES" ${ARGN})
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} INTERFACE ${arg_INCLUDES})
    target_link_libraries(${target} INTERFACE ${arg_FILE} ${arg_LIBRARIES})
    if(arg_FROM)
        add_dependencies(${target} ${arg_FROM})
    endif()
endfunction()

# For programs that need llama.cpp as this compiler makes it, whatever moescope itself is linked with.
llama_import(llama::compiled FROM llama_cpp FILE ${LLAMA_CPP_BIN}/libllama.so INCLUDES ${LLAMA_CPP_DIR}/include ${LLAMA_CPP_DIR}/ggml/include
             LIBRARIES ${LLAMA_CPP_BIN}/libggml.so ${LLAMA_CPP_BIN}/libggml-base.so)

# The libraries that moescope itself is linked with: these, prebuilt ones of the same version, or installed ones. Prebuilt and
# installed libraries are what they are, so options for ggml ask for a build.
set(MOESCOPE_LLAMA "" CACHE STRING "prebuilt (what scripts/setup unpacked), build (compile llama.cpp) or system (an installed one)")
set_property(CACHE MOESCOPE_LLAMA PROPERTY STRINGS prebuilt build system)
set(LLAMA_PREBUILT_DIR ${MOESCOPE_CACHE_DIR}/llama.cpp-${commit12}-prebuilt)
set(llama_from ${MOESCOPE_LLAMA})
if(NOT llama_from)
    set(llama_from build)   # also for the tests, which run llama.cpp's programs
    if(NOT MOESCOPE_TESTS AND NOT ggml_options AND EXISTS ${LLAMA_PREBUILT_DIR}/libllama.so
       AND LLAMA_CPP_DIR STREQUAL ${MOESCOPE_CACHE_DIR}/llama.cpp-${commit12})
        set(llama_from prebuilt)
    endif()
endif()
list(JOIN ggml_options ", " given)
message(STATUS "llama.cpp libraries: ${llama_from}")
if(NOT llama_from MATCHES "^(prebuilt|build|system)$")
    message(FATAL_ERROR "MOESCOPE_LLAMA is prebuilt, build or system, not '${llama_from}'")
elseif(ggml_options AND NOT llama_from STREQUAL build)
    message(FATAL_ERROR "${given}: options for ggml have no effect on libraries that are not compiled here; leave them out, or "
                        "configure with -DMOESCOPE_LLAMA=build")
endif()
include(Llama_${llama_from})

# For programs of ours that use llama.cpp without moescope's own engine (tests, benchmarks, tools).
add_library(llama_backends OBJECT ${PROJECT_SOURCE_DIR}/src/infer/backends.cpp ${PROJECT_SOURCE_DIR}/tests/support/load_backends.cpp)
target_include_directories(llama_backends PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(llama_backends PUBLIC llama::llama)

# Headers alone, for the injected recorder, which must not link what it interposes.
add_library(llama::headers INTERFACE IMPORTED GLOBAL)
target_include_directories(llama::headers INTERFACE ${LLAMA_CPP_DIR}/ggml/include ${LLAMA_CPP_DIR}/include)
