"""Tiny Hugging Face models of random weights, one for each family, written as their makers' folders are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "run", "##s", "two"]
HIDDEN = 16
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {"hidden_size": HIDDEN, "image_size": 32, "patch_size": 8, **LAYERS}
TEXT = {"hidden_size": HIDDEN, "vocab_size": len(PIECES), "max_position_embeddings": 32, **LAYERS}
WAVES = {
    "hidden_size": HIDDEN,
    "conv_dim": (8, 8, 8),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 4, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    **LAYERS,
    "num_hidden_layers": 3,  # more than there are convolutions of a kind, as in the large ones
}
WHISPER = {
    "d_model": HIDDEN,
    **{f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")},
    **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
    "vocab_size": 30,
    "max_source_positions": 100,
    "num_mel_bins": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
SPECTRA = {"hidden_size": HIDDEN, "max_length": 64, "num_mel_bins": 32, **LAYERS}
CLAP = {
    "hidden_size": HIDDEN,
    "patch_embeds_hidden_size": 8,
    "depths": [1, 2],
    "num_attention_heads": [1, 2],
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
    "projection_dim": 12,
    "num_hidden_layers": 2,
    "patch_stride": [4, 4],
}


LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
IMAGE_PIECE = 299  # a number that no text has
WRITER = {"hidden_size": 32, "initializer_range": 0.3}  # with the usual 0.02 a tiny frozen head hardly learns

SEEING = {"vocab_size": 300, "num_key_value_heads": 1, "max_position_embeddings": 128, **LAYERS, **WRITER}


def _models() -> dict[str, Callable[[Any], Any]]:
    return {
        "bert": lambda t: t.BertModel(t.BertConfig(**TEXT)),
        "clip": lambda t: t.CLIPModel(
            t.CLIPConfig(text_config={**TEXT, "eos_token_id": 3}, vision_config=VISION, projection_dim=12)
        ),
        "siglip": lambda t: t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=VISION)),
        "vit": lambda t: t.ViTModel(t.ViTConfig(**VISION)),
        "dinov2": lambda t: t.Dinov2Model(t.Dinov2Config(**VISION)),
        "dinov2_registers": lambda t: t.Dinov2WithRegistersModel(
            t.Dinov2WithRegistersConfig(**VISION, num_register_tokens=2)
        ),
        "convnext": lambda t: t.ConvNextModel(
            t.ConvNextConfig(hidden_sizes=[8, HIDDEN], depths=[1, 2], num_stages=2, image_size=32)
        ),
        "whisper": lambda t: t.WhisperModel(t.WhisperConfig(**WHISPER)),
        "whisper_writer": lambda t: t.WhisperForConditionalGeneration(
            t.WhisperConfig(**WHISPER | {"vocab_size": 300, "max_target_positions": 12, "init_std": 0.3})
        ),
        "wav2vec2_letters": lambda t: t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**WAVES, vocab_size=len(LETTERS))),
        "wav2vec2": lambda t: t.Wav2Vec2Model(t.Wav2Vec2Config(**WAVES)),
        "hubert": lambda t: t.HubertModel(t.HubertConfig(**WAVES)),
        "ast": lambda t: t.ASTModel(t.ASTConfig(**SPECTRA)),
        "llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SEEING)),
        "llava": lambda t: t.LlavaForConditionalGeneration(
            t.LlavaConfig(
                vision_config=t.CLIPVisionConfig(**VISION),
                text_config=t.LlamaConfig(**SEEING),
                image_token_index=IMAGE_PIECE,
                image_seq_length=16,
            )
        ),
        "smolvlm": lambda t: t.SmolVLMForConditionalGeneration(
            t.SmolVLMConfig(
                vision_config=VISION,
                text_config={"model_type": "llama", **SEEING},
                image_token_id=IMAGE_PIECE,
                scale_factor=2,
            )
        ),
        "qwen2_vl": lambda t: t.Qwen2VLForConditionalGeneration(t.Qwen2VLConfig(**_qwen("Qwen2VL"))),
        "qwen2_5_vl": lambda t: t.Qwen2_5_VLForConditionalGeneration(t.Qwen2_5_VLConfig(**_qwen("Qwen2_5_VL"))),
        "gpt2": lambda t: t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=128, initializer_range=0.3)
        ),
        "clap": lambda t: t.ClapModel(t.ClapConfig(text_config=TEXT, audio_config=CLAP, projection_dim=12)),
    }


def _qwen(name: str) -> dict[str, Any]:
    """Return what a small model of Qwen's is made of: 4 x 4 cells of a picture of 32 px, two by two as one place."""
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    text = {**SEEING, "rope_parameters": rope}
    vision = {"depth": 2, "num_heads": 2, "patch_size": 8, "in_channels": 3}
    sizes = {"embed_dim": 16, "hidden_size": SEEING["hidden_size"]}
    if name == "Qwen2_5_VL":
        sizes = {
            "hidden_size": 16,
            "out_hidden_size": SEEING["hidden_size"],
            "intermediate_size": 32,
            "window_size": 16,
        }
        sizes["fullatt_block_indexes"] = [1]
    return {"text_config": text, "vision_config": vision | sizes, "image_token_id": IMAGE_PIECE}


def write_tiny(name: str, folder: Path) -> Path:
    """Write a family's folder: weights, and the tokenizer or preprocessor that belongs to it."""
    import transformers as t

    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    _models()[name](t).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    preprocessors: dict[str, Callable[[], Any]] = {
        "clip": lambda: t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        "siglip": lambda: t.SiglipImageProcessor(size=size),
        "vit": lambda: t.ViTImageProcessor(size=size),
        "llava": lambda: t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        "qwen2_vl": lambda: t.Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 1024}),
        "qwen2_5_vl": lambda: t.Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 1024}),
        "smolvlm": lambda: t.SmolVLMImageProcessor(
            size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
        ),
        "dinov2": lambda: t.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        "dinov2_registers": lambda: t.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        "convnext": lambda: t.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0),
        "whisper": lambda: t.WhisperFeatureExtractor(feature_size=16, chunk_length=2),
        "whisper_writer": lambda: t.WhisperFeatureExtractor(feature_size=16, chunk_length=2),
        "wav2vec2": lambda: t.Wav2Vec2FeatureExtractor(return_attention_mask=True),
        "wav2vec2_letters": lambda: t.Wav2Vec2FeatureExtractor(return_attention_mask=True),
        "hubert": lambda: t.Wav2Vec2FeatureExtractor(return_attention_mask=False),
        "ast": lambda: t.ASTFeatureExtractor(num_mel_bins=32, max_length=64),
        "clap": lambda: t.ClapFeatureExtractor(
            feature_size=16,
            max_length_s=2,
            sampling_rate=8000,
            hop_length=250,
            fft_window_size=512,
            frequency_max=4000,
            truncation="rand_trunc",
        ),
    }
    if name in preprocessors:
        preprocessors[name]().save_pretrained(folder)
    if name == "wav2vec2_letters":
        (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
        t.Wav2Vec2CTCTokenizer(folder / "vocab.json").save_pretrained(folder)
    if name in ("llama", "gpt2", "llava", "smolvlm", "qwen2_vl", "qwen2_5_vl", "whisper_writer"):
        _write_bytes_tokenizer(folder)
    if name in ("bert", "clip", "siglip", "clap"):
        (folder / "vocab.txt").write_text("\n".join(PIECES), encoding="utf8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


def _write_bytes_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes with a few merges, learnt from a line of words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(["a small red circle above a large blue square in the picture"] * 2, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
