#pragma once

#include <ggml.h>
#include <gguf.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "scratch_folder.hpp"

namespace moescope::test {

// Writes GGUF files byte by byte from the format's description, so that the tests do not lean on the code they test,
// and so that a file can be wrong in any single place.
class gguf_builder {
public:
    struct tensor {
        std::string          name;
        int32_t              type;
        std::vector<int64_t> ne;
        uint64_t             offset;
        uint64_t             size;
        std::vector<uint8_t> data;  // empty: a hole of zeros
    };

    void add_u32(const std::string & key, uint32_t v) {
        add_key(key, GGUF_TYPE_UINT32);
        put(kv_, v);
    }
    void add_u16(const std::string & key, uint16_t v) {
        add_key(key, GGUF_TYPE_UINT16);
        put(kv_, v);
    }
    void add_i32(const std::string & key, int32_t v) {
        add_key(key, GGUF_TYPE_INT32);
        put(kv_, v);
    }
    void add_bool(const std::string & key, bool v) {
        add_key(key, GGUF_TYPE_BOOL);
        put(kv_, static_cast<uint8_t>(v));
    }
    void add_string(const std::string & key, const std::string & v) {
        add_key(key, GGUF_TYPE_STRING);
        put_string(kv_, v);
    }
    void add_u32s(const std::string & key, const std::vector<uint32_t> & vs) {
        add_array(key, GGUF_TYPE_UINT32, vs.size());
        for (const uint32_t v : vs) {
            put(kv_, v);
        }
    }
    void add_strings(const std::string & key, const std::vector<std::string> & vs) {
        add_array(key, GGUF_TYPE_STRING, vs.size());
        for (const std::string & v : vs) {
            put_string(kv_, v);
        }
    }

    // Appends a tensor behind the last one. data: as many bytes as the type and shape take, or nothing for a hole.
    void add_tensor(const std::string & name, ggml_type type, std::vector<int64_t> ne, std::vector<uint8_t> data = {}) {
        int64_t n = 1;
        for (const int64_t d : ne) {
            n *= d;
        }
        const uint64_t size = static_cast<uint64_t>(n / ggml_blck_size(type)) * ggml_type_size(type);
        tensors.push_back({name, type, std::move(ne), data_size_, size, std::move(data)});
        data_size_ += (size + alignment - 1) / alignment * alignment;
    }

    std::string header() const {
        std::string out = magic;
        put(out, version);
        put(out, n_tensors_override != 0 ? n_tensors_override : tensors.size());
        put(out, n_kv_override != 0 ? n_kv_override : n_kv_);
        out += kv_;
        for (const tensor & t : tensors) {
            put_string(out, t.name);
            put(out, static_cast<uint32_t>(t.ne.size()));
            for (const int64_t d : t.ne) {
                put(out, d);
            }
            put(out, t.type);
            put(out, t.offset);
        }
        return out;
    }

    // The whole file; tensor data without bytes stay holes. Returns the path.
    std::string write(const std::string & path) const {
        std::string    head       = header();
        const uint64_t data_begin = (head.size() + alignment - 1) / alignment * alignment;
        std::ofstream  out(path, std::ios::binary | std::ios::trunc);
        out.write(head.data(), static_cast<std::streamsize>(head.size()));
        uint64_t end = data_begin;
        for (const tensor & t : tensors) {
            if (!t.data.empty()) {
                out.seekp(static_cast<std::streamoff>(data_begin + t.offset));
                out.write(reinterpret_cast<const char *>(t.data.data()), static_cast<std::streamsize>(t.data.size()));
            }
            end = std::max(end, data_begin + t.offset + t.size);
        }
        out.close();
        std::filesystem::resize_file(path, end);
        return path;
    }

    template <class T>
    static void put(std::string & out, T v) {
        out.append(reinterpret_cast<const char *>(&v), sizeof(v));
    }
    static void put_string(std::string & out, const std::string & s) {
        put(out, static_cast<uint64_t>(s.size()));
        out += s;
    }

    void add_key(const std::string & key, int32_t type) {
        put_string(kv_, key);
        put(kv_, type);
        ++n_kv_;
    }
    void add_array(const std::string & key, int32_t type, uint64_t n) {
        add_key(key, GGUF_TYPE_ARRAY);
        put(kv_, type);
        put(kv_, n);
    }
    std::string & raw_metadata() { return kv_; }

    std::string         magic              = "GGUF";
    uint32_t            version            = 3;
    uint64_t            alignment          = 32;
    uint64_t            n_tensors_override = 0;
    uint64_t            n_kv_override      = 0;
    std::vector<tensor> tensors;

private:
    std::string kv_;
    uint64_t    n_kv_      = 0;
    uint64_t    data_size_ = 0;
};

// The header of gpt-oss-20b: 24 layers, 32 experts of 2880 x 2880 in MXFP4, top-4, attention in BF16 with biases and
// sinks. The data are one hole of 12 GB.
inline gguf_builder gpt_oss_20b() {
    gguf_builder  b;
    const int64_t n_embd = 2880, n_ff = 2880, n_expert = 32, n_q = 4096, n_kv = 512, n_vocab = 201088;
    b.add_string("general.architecture", "gpt-oss");
    b.add_u32("gpt-oss.block_count", 24);
    b.add_u32("gpt-oss.embedding_length", n_embd);
    b.add_u32("gpt-oss.expert_count", n_expert);
    b.add_u32("gpt-oss.expert_used_count", 4);
    b.add_tensor("token_embd.weight", GGML_TYPE_BF16, {n_embd, n_vocab});
    for (int il = 0; il < 24; ++il) {
        const std::string blk = "blk." + std::to_string(il) + ".";
        b.add_tensor(blk + "attn_norm.weight", GGML_TYPE_F32, {n_embd});
        b.add_tensor(blk + "attn_q.weight", GGML_TYPE_BF16, {n_embd, n_q});
        b.add_tensor(blk + "attn_q.bias", GGML_TYPE_F32, {n_q});
        b.add_tensor(blk + "attn_k.weight", GGML_TYPE_BF16, {n_embd, n_kv});
        b.add_tensor(blk + "attn_k.bias", GGML_TYPE_F32, {n_kv});
        b.add_tensor(blk + "attn_v.weight", GGML_TYPE_BF16, {n_embd, n_kv});
        b.add_tensor(blk + "attn_v.bias", GGML_TYPE_F32, {n_kv});
        b.add_tensor(blk + "attn_output.weight", GGML_TYPE_BF16, {n_q, n_embd});
        b.add_tensor(blk + "attn_output.bias", GGML_TYPE_F32, {n_embd});
        b.add_tensor(blk + "attn_sinks.weight", GGML_TYPE_F32, {64});
        b.add_tensor(blk + "post_attention_norm.weight", GGML_TYPE_F32, {n_embd});
        b.add_tensor(blk + "ffn_gate_inp.weight", GGML_TYPE_F32, {n_embd, n_expert});
        b.add_tensor(blk + "ffn_gate_inp.bias", GGML_TYPE_F32, {n_expert});
        for (const std::string kind : {"gate", "up", "down"}) {
            b.add_tensor(blk + "ffn_" + kind + "_exps.weight", GGML_TYPE_MXFP4, {n_embd, n_ff, n_expert});
            b.add_tensor(blk + "ffn_" + kind + "_exps.bias", GGML_TYPE_F32, {n_ff, n_expert});
        }
    }
    b.add_tensor("output_norm.weight", GGML_TYPE_F32, {n_embd});
    b.add_tensor("output.weight", GGML_TYPE_BF16, {n_embd, n_vocab});
    return b;
}

}  // namespace moescope::test
