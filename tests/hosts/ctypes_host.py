"""A program that uses llama.cpp from Python as llama-cpp-python does: libllama through ctypes, structures by value.

usage: ctypes_host.py LIBLLAMA MODEL TOKEN…     decodes the tokens, one batch each, and then again in a new context, from the
last to the first; prints what it decoded
"""

import ctypes
import sys


# The structures are only handed from one function of llama.cpp to the next: opaque, and at least as large as they are.
class ModelParams(ctypes.Structure):
    _fields_ = [("opaque", ctypes.c_int64 * 64)]


class ContextParams(ctypes.Structure):
    _fields_ = [("opaque", ctypes.c_int64 * 64)]


class Batch(ctypes.Structure):  # llama.h: struct llama_batch
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.c_void_p),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.c_void_p),
        ("n_seq_id", ctypes.c_void_p),
        ("seq_id", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
    ]


def load(path):
    llama = ctypes.CDLL(path)
    llama.llama_model_default_params.restype = ModelParams
    llama.llama_context_default_params.restype = ContextParams
    llama.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParams]
    llama.llama_model_load_from_file.restype = ctypes.c_void_p
    llama.llama_init_from_model.argtypes = [ctypes.c_void_p, ContextParams]
    llama.llama_init_from_model.restype = ctypes.c_void_p
    llama.llama_batch_get_one.argtypes = [ctypes.POINTER(ctypes.c_int32), ctypes.c_int32]
    llama.llama_batch_get_one.restype = Batch
    llama.llama_decode.argtypes = [ctypes.c_void_p, Batch]
    llama.llama_free.argtypes = llama.llama_model_free.argtypes = [ctypes.c_void_p]
    llama.llama_free.restype = llama.llama_model_free.restype = None
    return llama


def main():
    llama = load(sys.argv[1])
    model = llama.llama_model_load_from_file(sys.argv[2].encode(), llama.llama_model_default_params())
    tokens = [int(word) for word in sys.argv[3:]]
    for order in (tokens, tokens[::-1]):
        ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())
        for t in order:
            token = ctypes.c_int32(t)
            if llama.llama_decode(ctx, llama.llama_batch_get_one(ctypes.byref(token), 1)) != 0:
                sys.exit("llama_decode failed")
            print(t)
        llama.llama_free(ctx)
    llama.llama_model_free(model)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
