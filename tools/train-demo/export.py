#!/usr/bin/python3
"""Writes a checkpoint of train.py as GGUF, with llama.cpp's own gguf-py.

Matrices with two and three dimensions are stored in --type; norms and routers stay f32, as llama-quantize leaves them.
"""
import argparse
import sys
from pathlib import Path

import torch

import bpe
from llama_paths import default_source
from model import Config, Model

DESCRIPTION = (
    "Small Mixture-of-Experts model trained on Python code, grade-school arithmetic and Shakespeare, "
    "to show expert routing with moescope. Not an assistant."
)


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", required=True, help="work folder of train.py")
    p.add_argument("--type", choices=("q8_0", "f16", "f32"), default="q8_0")
    p.add_argument("-o", "--output", required=True)
    p.add_argument(
        "--llama-src",
        type=Path,
        default=default_source(),
        help="llama.cpp checkout with gguf-py (default: %(default)s)",
    )
    return p.parse_args()


def load_model(work):
    """(model, tokenizer, training steps) of a work folder."""
    state = torch.load(Path(work) / "checkpoint.pt", map_location="cpu")
    model = Model(Config(**state["config"]))
    torch.nn.utils.vector_to_parameters(state["param"], model.parameters())
    for block, bias in zip(model.blocks, state.get("selection_bias", [])):
        block.moe.selection_bias.copy_(bias)
    return model.eval(), bpe.Tokenizer.load(Path(work) / "tokenizer.json"), state["step"]


def add_hyperparameters(writer, gguf, cfg, n_params):
    writer.add_type("model")
    writer.add_name("moescope demo" if cfg.arch == "qwen3moe" else "moescope demo, sigmoid router")
    writer.add_description(DESCRIPTION)
    writer.add_license("mit")
    writer.add_size_label(f"{n_params / 1e6:.0f}M")
    writer.add_languages(["en"])
    writer.add_vocab_size(cfg.n_vocab)
    writer.add_context_length(cfg.n_ctx)
    writer.add_embedding_length(cfg.n_embd)
    writer.add_block_count(cfg.n_layer)
    writer.add_feed_forward_length(cfg.n_ff_exp * cfg.n_expert_used)
    writer.add_expert_feed_forward_length(cfg.n_ff_exp)
    writer.add_expert_count(cfg.n_expert)
    writer.add_expert_used_count(cfg.n_expert_used)
    writer.add_head_count(cfg.n_head)
    writer.add_head_count_kv(cfg.n_head_kv)
    writer.add_key_length(cfg.head_dim)
    writer.add_value_length(cfg.head_dim)
    writer.add_rope_freq_base(cfg.rope_base)
    writer.add_layer_norm_rms_eps(cfg.norm_eps)
    if cfg.sigmoid:
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_weights_norm(True)
        writer.add_expert_weights_scale(cfg.weights_scale)
        writer.add_expert_shared_count(cfg.n_expert_shared)
        writer.add_leading_dense_block_count(0)
        writer.add_rope_dimension_count(cfg.head_dim)


def add_tokenizer(writer, gguf, tokenizer):
    kinds = [gguf.TokenType.NORMAL] * len(tokenizer.pieces)
    kinds[tokenizer.end_of_text] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(bpe.PRE_TOKENIZER)
    writer.add_token_list(tokenizer.pieces)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    writer.add_eos_token_id(tokenizer.end_of_text)
    writer.add_bos_token_id(tokenizer.end_of_text)
    writer.add_add_bos_token(False)


def tensors(model):
    """(GGUF name, array) pairs. The output matrix is token_embd, which llama.cpp takes for qwen3moe when there is none."""
    array = lambda t: t.detach().contiguous().numpy()
    yield "token_embd.weight", array(model.embed.weight)
    for il, block in enumerate(model.blocks):
        attn, moe, n_ff = block.attn, block.moe, model.cfg.n_ff_exp
        per_expert = moe.gate_up.transpose(1, 2)  # [E, gate and up rows, n_embd]
        layer = {
            "attn_norm": block.attn_norm.weight,
            "attn_q": attn.q.weight,
            "attn_k": attn.k.weight,
            "attn_v": attn.v.weight,
            "attn_q_norm": attn.q_norm.weight,
            "attn_k_norm": attn.k_norm.weight,
            "attn_output": attn.out.weight,
            "ffn_norm": block.ffn_norm.weight,
            "ffn_gate_inp": moe.router.weight,
            "ffn_gate_exps": per_expert[:, :n_ff],
            "ffn_up_exps": per_expert[:, n_ff:],
            "ffn_down_exps": moe.down.transpose(1, 2),
        }
        if model.cfg.n_expert_shared > 0:
            layer |= {f"ffn_{name}_shexp": m.weight for name, m in moe.shared.named_children()}
        for name, value in layer.items():
            yield f"blk.{il}.{name}.weight", array(value)
        if model.cfg.sigmoid:
            yield f"blk.{il}.exp_probs_b.bias", array(moe.selection_bias)
    if model.cfg.arch != "qwen3moe":
        yield "output.weight", array(model.embed.weight)
    yield "output_norm.weight", array(model.norm.weight)


def main():
    args = parse_args()
    sys.path.insert(0, f"{args.llama_src}/gguf-py")
    import gguf

    model, tokenizer, step = load_model(args.work)
    kind = gguf.GGMLQuantizationType[args.type.upper()]
    writer = gguf.GGUFWriter(args.output, model.cfg.arch)
    add_hyperparameters(writer, gguf, model.cfg, sum(p.numel() for p in model.parameters()))
    writer.add_file_type(
        {
            "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
            "f16": gguf.LlamaFileType.MOSTLY_F16,
            "f32": gguf.LlamaFileType.ALL_F32,
        }[args.type]
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(writer, gguf, tokenizer)
    for name, value in tensors(model):
        keep = value.ndim == 1 or "ffn_gate_inp" in name
        stored = gguf.GGMLQuantizationType.F32 if keep else kind
        writer.add_tensor(name, gguf.quantize(value, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.output}: step {step}, {Path(args.output).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
