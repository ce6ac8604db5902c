# moescope on the llama.cpp that LlamaCpp.cmake compiles. Included by it.
set(LLAMA_LIBRARY_DIR ${LLAMA_CPP_BIN})
llama_import(llama::ggml FROM ggml_base FILE ${LLAMA_CPP_BIN}/libggml-base.so INCLUDES ${LLAMA_CPP_DIR}/ggml/include)
llama_import(llama::llama FROM llama_cpp FILE ${LLAMA_CPP_BIN}/libllama.so INCLUDES ${LLAMA_CPP_DIR}/include
             LIBRARIES llama::ggml ${LLAMA_CPP_BIN}/libggml.so)
llama_import(llama::common FROM llama_cpp FILE ${LLAMA_CPP_BIN}/libllama-common.so INCLUDES ${LLAMA_CPP_DIR}/common
             LIBRARIES llama::llama)
