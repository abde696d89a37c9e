"""Model shapes: bytes of KV, weights and operations against published totals, and a strict config reader."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import pytest

from simkv import model
from simkv.errors import InputError
from simkv.model import ModelShape

# [bytes] fp16: 2 x layers x kv_heads x head_dim x 2
KV_BYTES_PER_TOKEN = {
    "Qwen2.5-0.5B": 12_288,
    "Qwen2.5-3B": 36_864,
    "Qwen2.5-7B": 57_344,
    "Qwen2.5-32B": 262_144,
    "Qwen3-8B": 147_456,
    "Qwen3-32B": 262_144,
    "Qwen3-30B-A3B": 98_304,
    "Llama-3-8B": 131_072,
    "Llama-3.1-8B": 131_072,
    "Llama-3.1-70B": 327_680,
    "Mistral-7B": 131_072,
}

# "safetensors total" that the Hugging Face hub shows for the repository in each shape's `source`
PUBLISHED_PARAMETERS = {
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen2.5-32B": 32_763_876_352,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-32B": 32_762_123_264,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Llama-3-8B": 8_030_261_248,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-3.1-70B": 70_553_706_496,
    "Mistral-7B": 7_248_023_552,
}

# "Number of Parameters (Non-Embedding)" on the model cards of the Qwen family, in 1e9
PUBLISHED_NON_EMBEDDING_1E9 = {
    "Qwen2.5-0.5B": 0.36,
    "Qwen2.5-3B": 2.77,
    "Qwen2.5-7B": 6.53,
    "Qwen2.5-32B": 31.0,
    "Qwen3-8B": 6.95,
    "Qwen3-32B": 31.2,
    "Qwen3-30B-A3B": 29.9,
}

TOY = ModelShape("toy", layers=4, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=8, vocab=16)

QWEN_3B_CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "max_position_embeddings": 32768,
    "max_window_layers": 36,
    "model_type": "qwen2",
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}


# https://huggingface.co/Qwen/Qwen3-30B-A3B-Instruct-2507/blob/main/config.json, what differs
QWEN_30B_A3B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "intermediate_size": 6144,
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
}


def write(folder: Path, **changes: object) -> Path:
    """Write the config of Qwen2.5-3B with some keys changed; None removes a key."""
    config = {key: value for key, value in {**QWEN_3B_CONFIG, **changes}.items() if value is not None}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def refusal(path: Path) -> str:
    """Return the message with which a config is refused, without the path in front."""
    with pytest.raises(InputError) as caught:
        model.from_hf_config(path)
    where, _, message = str(caught.value).partition("config.json")
    assert where == f"{path.parent}/"
    return message


class TestShape:
    def test_every_built_in_is_in_both_published_tables(self) -> None:
        """A shape without a published number to compare with would be an unchecked claim."""
        assert set(model.BUILT_IN) == set(KV_BYTES_PER_TOKEN) == set(PUBLISHED_PARAMETERS)

    @pytest.mark.parametrize("name", KV_BYTES_PER_TOKEN)
    def test_kv_bytes_per_token(self, name: str) -> None:
        """KV of a token is 2 x layers x KV heads x head width x 2 bytes."""
        assert model.get(name).kv_bytes_per_token == KV_BYTES_PER_TOKEN[name]

    @pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
    def test_parameter_total_is_the_published_one(self, name: str) -> None:
        """Biases, norms and tied tables counted, the total agrees to the last weight."""
        assert model.get(name).parameters == PUBLISHED_PARAMETERS[name]

    @pytest.mark.parametrize("name", PUBLISHED_NON_EMBEDDING_1E9)
    def test_non_embedding_parameters(self, name: str) -> None:
        """Without both tables the count is the model card's "non-embedding" one, within its rounding."""
        published = PUBLISHED_NON_EMBEDDING_1E9[name] * 1e9
        assert model.get(name).parameters_without_embeddings == pytest.approx(published, rel=0.01)

    def test_kv_of_70b_at_4k_is_1_34_gb(self) -> None:
        """Seed document 4 says 2 to 3 GB, which is neither fp16 GQA (1.34) nor its MHA equivalent (10.7)."""
        shape = model.get("Llama-3.1-70B")
        assert shape.kv_bytes(4096) == 1_342_177_280
        assert shape.kv_bytes(4096) * shape.heads // shape.kv_heads == 10_737_418_240

    @pytest.mark.parametrize(("layers", "kv_bytes"), [(4, 128), (6, 192)])
    def test_toy_of_seed_1(self, layers: int, kv_bytes: int) -> None:
        """Four tokens of width 2 take 128 bytes in 4 layers and 192 in 6; the seed prints 128 for both."""
        toy = ModelShape("toy", layers, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=8, vocab=16)
        assert toy.kv_bytes(4) == kv_bytes

    def test_linear_flop_by_hand(self) -> None:
        """Toy block: q, k, v, o of 2 x 2 and three 2 x 8 matrices = 64 weights; x 2 flop x 4 layers."""
        assert TOY.linear_flop_per_token == 2 * 4 * (4 * 4 + 3 * 16)

    def test_lm_head_flop_by_hand(self) -> None:
        """One emitted token costs two flop for each weight of the 16 x 2 output matrix."""
        assert TOY.lm_head_flop == 64

    def test_linear_and_head_flop_are_two_per_weight(self) -> None:
        """Apart from norms and embeddings, every weight is used once: 2 flop a parameter, within 0.01 %."""
        shape = model.get("Llama-3.1-8B")
        used = shape.parameters - shape.vocab * shape.hidden
        assert shape.linear_flop_per_token + shape.lm_head_flop == pytest.approx(2 * used, rel=1e-4)

    @pytest.mark.parametrize(("new", "cached"), [(1, 0), (1, 7), (3, 2), (5, 0)])
    def test_attention_counts_visible_pairs(self, new: int, cached: int) -> None:
        """Query i of the new tokens sees the cached ones, those before it, and itself."""
        pairs = sum(cached + i + 1 for i in range(new))
        assert TOY.attention_flop(new, cached) == 4 * 4 * 1 * 2 * pairs

    def test_attention_in_chunks_is_attention_at_once(self) -> None:
        """Prefill in two chunks looks at the same pairs as in one."""
        shape = model.get("Qwen2.5-3B")
        assert shape.attention_flop(300) + shape.attention_flop(212, 300) == shape.attention_flop(512)

    def test_weight_bytes(self) -> None:
        """Weights at 4 bits take a quarter of those at 16; a part of a byte counts as one."""
        shape = model.get("Qwen2.5-3B")
        assert shape.weight_bytes() == 2 * shape.parameters
        assert shape.weight_bytes(bits=4) == shape.parameters // 2
        assert TOY.weight_bytes(bits=1) == -(-TOY.parameters // 8)

    def test_impossible_shapes_are_refused(self) -> None:
        """Zero layers, or query heads that do not share KV heads evenly, are no model."""
        with pytest.raises(InputError, match="model 'm': layers: want at least 1, got 0"):
            ModelShape("m", layers=0, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=8, vocab=16)
        with pytest.raises(InputError, match="model 'm': want heads to be a multiple of 3 kv_heads, got 4"):
            ModelShape("m", layers=1, hidden=2, heads=4, kv_heads=3, head_dim=2, intermediate=8, vocab=16)
        with pytest.raises(InputError, match="want at least 1 bit each, got 0"):
            TOY.weight_bytes(bits=0)


class TestExperts:
    def test_weights_that_a_token_goes_through(self) -> None:
        """3.3e9 of 30.5e9 are activated, says the model card; it counts both tables."""
        shape = model.get("Qwen3-30B-A3B")
        dormant = (shape.experts - shape.experts_per_token) * shape.expert_weight_bytes() // 2
        assert (shape.parameters - dormant) / 1e9 == pytest.approx(3.3, abs=0.06)

    def test_what_streams_is_shared_weights_and_experts(self) -> None:
        """Shared ones, and all 128 experts of each layer, are all but the embedding table."""
        shape = model.get("Qwen3-30B-A3B")
        streamed = shape.streamed_weight_bytes() + 128 * shape.expert_weight_bytes()
        assert streamed == shape.weight_bytes() - 2 * shape.vocab * shape.hidden

    def test_activated_experts(self) -> None:
        """One token wakes its own; each further one fewer; never more than there are."""
        woken = [model.get("Qwen3-30B-A3B").activated_experts(tokens) for tokens in range(400)]
        assert woken[:2] == [0.0, 8.0]
        steps = [after - before for before, after in pairwise(woken)]
        assert all(0 <= later <= earlier + 1e-12 for earlier, later in pairwise(steps))
        assert woken[-1] == pytest.approx(128)
        assert TOY.activated_experts(5) == 0.0

    def test_impossible_experts(self) -> None:
        """More for a token than there are, or a width of none."""
        for wrong in ((4, 5, 2), (4, 0, 2), (4, 2, 0), (0, 2, 2)):
            fields = dict(zip(("experts", "experts_per_token", "expert_intermediate"), wrong, strict=True))
            with pytest.raises(InputError, match="model 'toy': experts: want none, or at least as many as"):
                dataclasses.replace(TOY, **fields)


class TestGet:
    @pytest.mark.parametrize("wrong", ["Qwen2.5-3b", "qwen/Qwen2.5-3B"])
    def test_unknown_name_suggests(self, wrong: str) -> None:
        """A near miss, or the name on the hub misspelt, is refused with the name that is wanted."""
        with pytest.raises(InputError, match=f"unknown model '{wrong}'; did you mean 'Qwen2.5-3B'"):
            model.get(wrong)

    @pytest.mark.parametrize(
        ("repository", "name"),
        [
            ("Qwen/Qwen3-32B", "Qwen3-32B"),
            ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"),
            ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen3-30B-A3B"),
        ],
    )
    def test_the_name_on_the_hub_will_do(self, repository: str, name: str) -> None:
        """A built-in model by its repository is the same object."""
        assert model.get(repository) is model.get(name)

    def test_path_is_relative_to_the_scenario(self, tmp_path: Path) -> None:
        """A scenario names a config.json, or its folder, from where the scenario stands."""
        (tmp_path / "my-model").mkdir()
        write(tmp_path / "my-model")
        by_file = model.get("my-model/config.json", relative_to=tmp_path)
        assert by_file == model.get("my-model", relative_to=tmp_path)
        assert by_file.name == "my-model"


class TestHuggingFaceConfig:
    def test_same_shape_as_built_in(self, tmp_path: Path) -> None:
        """The published config.json gives the built-in shape, name and source aside."""
        read, built_in = model.from_hf_config(write(tmp_path)), model.get("Qwen2.5-3B")
        differ = [key for key in ModelShape.__slots__ if getattr(read, key) != getattr(built_in, key)]
        assert differ == ["name", "source"]

    def test_a_mixture_of_experts(self, tmp_path: Path) -> None:
        """The published config.json of Qwen3-30B-A3B gives the built-in shape; layers without experts are refused."""
        path = write(tmp_path, **QWEN_30B_A3B)
        read, built_in = model.from_hf_config(path), model.get("Qwen3-30B-A3B")
        assert [key for key in ModelShape.__slots__ if getattr(read, key) != getattr(built_in, key)] == [
            "name",
            "source",
        ]
        assert "layers without experts are not modelled" in refusal(
            write(tmp_path, **QWEN_30B_A3B, mlp_only_layers=[3])
        )
        without = {key: value for key, value in QWEN_30B_A3B.items() if key != "num_experts_per_tok"}
        assert "no key 'num_experts_per_tok'" in refusal(write(tmp_path, **without))

    def test_llama_without_optional_keys(self, tmp_path: Path) -> None:
        """In llama an absent num_key_value_heads means all heads, and head_dim the even share."""
        changes = dict.fromkeys(("num_key_value_heads", "tie_word_embeddings", "architectures"))
        read = model.from_hf_config(write(tmp_path, model_type="llama", **changes))
        assert (read.kv_heads, read.head_dim, read.tied_embeddings, read.qkv_bias) == (16, 128, False, False)

    def test_qwen3_states_its_head_dim(self, tmp_path: Path) -> None:
        """A head may be wider than hidden / heads."""
        read = model.from_hf_config(write(tmp_path, model_type="qwen3", head_dim=256))
        assert (read.head_dim, read.qk_norm) == (256, True)

    def test_new_name_of_dtype(self, tmp_path: Path) -> None:
        """`dtype` replaces `torch_dtype`; float32 doubles the KV."""
        read = model.from_hf_config(write(tmp_path, torch_dtype=None, dtype="float32"))
        assert read.kv_bytes_per_token == 2 * 36_864

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model_type": None}, ": no key 'model_type'; want the config.json of a dense decoder"),
            ({"vocab_size": None}, ": no key 'vocab_size'; want the config.json of a dense decoder"),
            ({"num_key_value_heads": None}, ": no key 'num_key_value_heads'; want the config.json of a dense decoder"),
            ({"torch_dtype": None}, ": no key 'torch_dtype'; want the config.json of a dense decoder"),
            (
                {"model_type": "qwen3"},
                ": no key 'head_dim'; want the config.json of a dense decoder",
            ),
            (
                {"num_hidden_layers": None, "num_hiden_layers": 36},
                ": unknown key 'num_hiden_layers'; did you mean 'num_hidden_layers'?",
            ),
            (
                {"model_type": "qwen", "architectures": None},
                ": model_type 'qwen' is not modelled; did you mean 'qwen3'?; want one of: llama, mistral, qwen2, qwen3,"
                " qwen3_moe",
            ),
            (
                {"model_type": "qwen2_moe", "num_experts": 60},
                ": a mixture of experts (num_experts) is not modelled; want a dense decoder, got 'qwen2_moe'",
            ),
            (
                {"model_type": "deepseek_v2", "kv_lora_rank": 512},
                ": multi-head latent attention (kv_lora_rank) is not modelled; want a dense decoder, got 'deepseek_v2'",
            ),
            (
                {"use_sliding_window": True},
                ": sliding-window attention is not modelled; want full attention in every layer",
            ),
            (
                {"model_type": "mistral"},
                ": sliding-window attention is not modelled; want full attention in every layer",
            ),
            ({"attention_bias": True}, ": attention_bias true is not modelled; want false"),
            (
                {"quantization_config": {"bits": 4}},
                ": a quantised checkpoint; want the config.json of the model it was made from",
            ),
            (
                {"architectures": ["Qwen2Model"]},
                ": want a causal language model, got architectures ['Qwen2Model']",
            ),
            ({"hidden_size": -2048}, ": hidden_size: want a whole number from 1 to 10000000, got -2048"),
            ({"hidden_size": 2048.5}, ": hidden_size: want a whole number from 1 to 10000000, got 2048.5"),
            ({"vocab_size": True}, ": vocab_size: want a whole number from 1 to 10000000, got True"),
            ({"num_key_value_heads": 3}, ": num_attention_heads: want a multiple of 3 KV heads, got 16"),
            ({"hidden_size": 2047}, ": no head_dim, and hidden_size 2047 is not a multiple of 16 heads"),
            ({"tie_word_embeddings": "yes"}, ": tie_word_embeddings: want true or false, got 'yes'"),
            (
                {"torch_dtype": "bfloat"},
                ": torch_dtype: want one of float16, bfloat16, float32, got 'bfloat'; did you mean 'bfloat16'?",
            ),
            ({"torch_dtype": [1]}, ": torch_dtype: want one of float16, bfloat16, float32, got [1]"),
        ],
    )
    def test_refusals(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        """What would be miscounted is refused in one line that names the key."""
        assert refusal(write(tmp_path, **changes)) == message

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b'{"vocab_size": 1, "vocab_size": 2}', ": key 'vocab_size' stands there twice; want it once"),
            (b'{"vocab_size": NaN}', ": want finite numbers, got NaN"),
            (b'{"vocab_size": 1,\n "a" 2}', ":2:6: not JSON: Expecting ':' delimiter"),
            (b"[1]", ": want a JSON object with the keys of a config.json, got a list"),
            (b"\xff\xfe", ": not UTF-8 text; want a Hugging Face config.json"),
            (b"", ":1:1: not JSON: Expecting value"),
            (b" " * 1_000_001, ": larger than 1000000 bytes; want a Hugging Face config.json"),
        ],
    )
    def test_unreadable_files(self, tmp_path: Path, text: bytes, message: str) -> None:
        """A file that is no JSON object is refused where it breaks."""
        path = tmp_path / "config.json"
        path.write_bytes(text)
        assert refusal(path) == message

    def test_deep_nesting_and_long_integers(self, tmp_path: Path) -> None:
        """Hostile JSON ends in the same kind of error, not in a traceback of the parser."""
        path = tmp_path / "config.json"
        for text in ("[" * 200_000, '{"vocab_size": ' + "9" * 5_000 + "}"):
            path.write_text(text)
            assert refusal(path).startswith(": not a Hugging Face config.json: ")

    def test_absent_file(self, tmp_path: Path) -> None:
        """A folder without a config.json says so."""
        assert refusal(tmp_path / "config.json") == ": no such file"
