# moescope on prebuilt libraries of the pinned commit (scripts/setup unpacks them), with the headers of the source. Their
# backends are modules that are loaded at run time: the CPU's in several variants, of which ggml picks the one that fits.
# Included by LlamaCpp.cmake.
if(NOT EXISTS ${LLAMA_PREBUILT_DIR}/libllama.so)
    message(FATAL_ERROR "no prebuilt llama.cpp in ${LLAMA_PREBUILT_DIR}: run scripts/setup, or configure with -DMOESCOPE_LLAMA=build")
endif()
# One folder for all of them, as in an installation: backends are loaded from where libggml lies.
set(LLAMA_LIBRARY_DIR ${PROJECT_BINARY_DIR}/lib/moescope)
file(MAKE_DIRECTORY ${LLAMA_LIBRARY_DIR})
file(GLOB prebuilt_libraries ${LLAMA_PREBUILT_DIR}/*.so)
foreach(library ${prebuilt_libraries})
    cmake_path(GET library FILENAME name)
    file(CREATE_LINK ${library} ${LLAMA_LIBRARY_DIR}/${name} SYMBOLIC)
endforeach()
llama_import(llama::ggml FILE ${LLAMA_LIBRARY_DIR}/libggml-base.so INCLUDES ${LLAMA_CPP_DIR}/ggml/include)
llama_import(llama::llama FILE ${LLAMA_LIBRARY_DIR}/libllama.so INCLUDES ${LLAMA_CPP_DIR}/include
             LIBRARIES llama::ggml ${LLAMA_LIBRARY_DIR}/libggml.so)
llama_import(llama::common FILE ${LLAMA_LIBRARY_DIR}/libllama-common.so INCLUDES ${LLAMA_CPP_DIR}/common
             LIBRARIES llama::llama)

# The packages have no RPC backend. It is three files, and ggml loads it from where the others lie.
set(rpc ${LLAMA_CPP_DIR}/ggml/src/ggml-rpc)
add_library(ggml-rpc MODULE ${rpc}/ggml-rpc.cpp ${rpc}/transport.cpp)
target_compile_definitions(ggml-rpc PRIVATE GGML_BACKEND_DL GGML_BACKEND_BUILD GGML_BACKEND_SHARED)
target_compile_options(ggml-rpc PRIVATE -w -O2)
target_include_directories(ggml-rpc PRIVATE ${LLAMA_CPP_DIR}/ggml/src)
target_link_libraries(ggml-rpc PRIVATE llama::ggml)
set_target_properties(ggml-rpc PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${LLAMA_LIBRARY_DIR})
