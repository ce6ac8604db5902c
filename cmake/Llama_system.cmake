# moescope on an installed llama.cpp, found by its CMake package (-DCMAKE_PREFIX_PATH=<prefix>, or -Dllama_DIR=<its cmake folder>).
# Its headers lack those of libllama-common, which come from the source, so both must be of the same commit. Included by
# LlamaCpp.cmake.
find_package(llama REQUIRED CONFIG)
if(LLAMA_BUILD_COMMIT AND NOT LLAMA_BUILD_COMMIT STREQUAL "unknown")
    string(FIND ${LLAMA_CPP_COMMIT} ${LLAMA_BUILD_COMMIT} at)
    if(NOT at EQUAL 0)
        message(FATAL_ERROR "the llama.cpp in ${LLAMA_LIB_DIR} is of commit ${LLAMA_BUILD_COMMIT}; moescope needs ${LLAMA_CPP_COMMIT} "
                            "(v0.5.0), or -DLLAMA_CPP_DIR=<a checkout of what is installed>")
    endif()
endif()
find_library(LLAMA_COMMON_LIBRARY llama-common HINTS ${LLAMA_LIB_DIR} NO_DEFAULT_PATH REQUIRED)
find_library(LLAMA_GGML_LIBRARY ggml HINTS ${LLAMA_LIB_DIR} NO_DEFAULT_PATH REQUIRED)
find_library(LLAMA_GGML_BASE_LIBRARY ggml-base HINTS ${LLAMA_LIB_DIR} NO_DEFAULT_PATH REQUIRED)
set(LLAMA_LIBRARY_DIR ${LLAMA_LIB_DIR})
llama_import(llama::ggml FILE ${LLAMA_GGML_BASE_LIBRARY} INCLUDES ${LLAMA_CPP_DIR}/ggml/include)
llama_import(llama::llama FILE ${llama_LIBRARY} INCLUDES ${LLAMA_CPP_DIR}/include LIBRARIES llama::ggml ${LLAMA_GGML_LIBRARY})
llama_import(llama::common FILE ${LLAMA_COMMON_LIBRARY} INCLUDES ${LLAMA_CPP_DIR}/common LIBRARIES llama::llama)
