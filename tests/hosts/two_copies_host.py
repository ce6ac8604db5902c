"""Two versions of llama.cpp in one process, each loaded privately, decode in turns.

usage: two_copies_host.py TOKENS LIBLLAMA MODEL LIBLLAMA MODEL     TOKENS: 1,2,3
"""

import ctypes
import os
import sys

from ctypes_host import load


def main():
    tokens = [int(t) for t in sys.argv[1].split(",")]
    runs = []
    for path, model_path in zip(sys.argv[2::2], sys.argv[3::2]):
        llama = load(path)
        if hasattr(llama, "ggml_backend_load_all_from_path"):
            llama.ggml_backend_load_all_from_path(os.path.dirname(path).encode())
        model = llama.llama_model_load_from_file(model_path.encode(), llama.llama_model_default_params())
        runs.append((llama, model, llama.llama_init_from_model(model, llama.llama_context_default_params())))
    for t in tokens:
        for llama, _, ctx in runs:
            token = ctypes.c_int32(t)
            if llama.llama_decode(ctx, llama.llama_batch_get_one(ctypes.byref(token), 1)) != 0:
                sys.exit("llama_decode failed")
    for llama, model, ctx in runs:
        llama.llama_free(ctx)
        llama.llama_model_free(model)
    print("done")


if __name__ == "__main__":
    main()
