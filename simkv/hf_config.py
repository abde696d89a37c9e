"""What a Hugging Face `config.json` says about the shape of a decoder, read strictly.

Only families whose weights and KV `ModelShape` counts exactly are read; everything else is refused by
name, because a wrong shape would silently scale every byte and every second of a run.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from simkv.errors import InputError
from simkv.registry import did_you_mean

#: Families whose blocks are exactly what `ModelShape` counts: (bias on q, k, v; norm on q, k; keys whose
#: absence means a number that differs between versions of the library, so that a file must state them).
_FAMILIES: Mapping[str, tuple[bool, bool, tuple[str, ...]]] = {
    "llama": (False, False, ()),
    "mistral": (False, False, ("num_key_value_heads",)),
    "qwen2": (True, False, ("num_key_value_heads",)),
    "qwen3": (False, True, ("num_key_value_heads", "head_dim")),
    "qwen3_moe": (False, True, ("num_key_value_heads", "head_dim")),
}

#: Families with experts in every layer: the field of `ModelShape` and the key that it is read from.
_EXPERT_FAMILIES: Mapping[str, Mapping[str, str]] = {
    "qwen3_moe": {
        "experts": "num_experts",
        "experts_per_token": "num_experts_per_tok",
        "expert_intermediate": "moe_intermediate_size",
    },
}

#: Keys that only a mixture of experts has, and only multi-head latent attention.
_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size")
_LATENT_KEYS = ("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim")

#: Keys that are read; another key that is spelled almost like one of them is a typing error, not a stranger.
_READ_KEYS = (
    *("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("intermediate_size", "vocab_size", "torch_dtype", "dtype", "tie_word_embeddings", "attention_bias", "mlp_bias"),
    *("sliding_window", "use_sliding_window", "layer_types", "quantization_config", "architectures"),
    *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step", "mlp_only_layers"),
)
_ALMOST = 0.9  # similarity in [0, 1]: one letter wrong in ten, which no two real keys of these families reach

_DTYPE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}

_MAX_CONFIG_BYTES = 1_000_000  # the largest config.json on the hub are some tens of kB (label maps)
_MAX_DIMENSION = 10_000_000  # ten times the largest vocabulary; above it a typing error is likelier


def read(path: Path) -> dict[str, Any]:
    """Return the fields of the `ModelShape` that a `config.json` describes.

    Parameters
    ----------
    path : the file, or the folder that holds it; the shape is named after the folder.

    Raises
    ------
    InputError : unreadable, duplicate or missing keys, values no model has, or a kind of model whose
        KV or weights `ModelShape` would miscount (other experts, latent or sliding-window attention, quantised).

    Examples
    --------
    >>> read(Path("absent/config.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent/config.json: no such file
    """
    if path.is_dir():
        path = path / "config.json"
    where = str(path)
    config = _read_json_object(path, where)
    _refuse_misspelt(config, where)
    family = _family(config, where)
    qkv_bias, qk_norm, stated = _FAMILIES[family]
    for key in stated:
        if config.get(key) is None:
            _missing(key, where)
    hidden, heads = _dimension(config, "hidden_size", where), _dimension(config, "num_attention_heads", where)
    if config.get("head_dim") is None and hidden % heads:
        raise InputError(f"no head_dim, and hidden_size {hidden} is not a multiple of {heads} heads", where)
    kv_heads = _dimension(config, "num_key_value_heads", where, default=heads)
    if heads % kv_heads:
        raise InputError(f"num_attention_heads: want a multiple of {kv_heads} KV heads, got {heads}", where)
    return {
        "name": path.absolute().parent.name if path.stem == "config" else path.stem,
        "layers": _dimension(config, "num_hidden_layers", where),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": _dimension(config, "head_dim", where, default=hidden // heads),
        "intermediate": _dimension(config, "intermediate_size", where),
        "vocab": _dimension(config, "vocab_size", where),
        "dtype_bytes": _dtype_bytes(config, where),
        "tied_embeddings": _flag(config, "tie_word_embeddings", where),
        "qkv_bias": qkv_bias,
        "qk_norm": qk_norm,
        "source": where,
    } | _experts(config, family, where)


def _experts(config: Mapping[str, Any], family: str, where: str) -> dict[str, int]:
    """Return the fields of a mixture of experts; refuse one that some layers lack."""
    keys = _EXPERT_FAMILIES.get(family)
    if keys is None:
        return {}
    if config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
        found = f"decoder_sparse_step {config.get('decoder_sparse_step', 1)}"
        found += f", mlp_only_layers {config.get('mlp_only_layers')}"
        raise InputError(f"layers without experts are not modelled; want them in every layer, got {found}", where)
    return {field: _dimension(config, key, where) for field, key in keys.items()}


def _read_json_object(path: Path, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"key {key!r} stands there twice; want it once", where)
            found[key] = value
        return found

    def refuse(constant: str) -> NoReturn:
        raise InputError(f"want finite numbers, got {constant}", where)

    text = _read_text(path, where)
    try:
        config = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", f"{where}:{error.lineno}:{error.colno}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
        raise InputError(f"not a Hugging Face config.json: {error}", where) from None
    if not isinstance(config, dict):
        raise InputError(f"want a JSON object with the keys of a config.json, got a {type(config).__name__}", where)
    return config


def _read_text(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise InputError("no such file", where) from None
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where) from None
    if len(raw) > _MAX_CONFIG_BYTES:
        raise InputError(f"larger than {_MAX_CONFIG_BYTES} bytes; want a Hugging Face config.json", where)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text; want a Hugging Face config.json", where) from None


def _family(config: Mapping[str, Any], where: str) -> str:
    """Return the model type, or refuse what `ModelShape` would miscount."""
    family = config.get("model_type")
    if family is None:
        _missing("model_type", where)
    has_experts = isinstance(family, str) and family in _EXPERT_FAMILIES
    expert_keys = () if has_experts else _EXPERT_KEYS
    for keys, what in ((expert_keys, "a mixture of experts"), (_LATENT_KEYS, "multi-head latent attention")):
        for key in keys:
            if config.get(key) is not None:
                raise InputError(f"{what} ({key}) is not modelled; want a dense decoder, got {family!r}", where)
    if not isinstance(family, str) or family not in _FAMILIES:
        hint = did_you_mean(str(family), list(_FAMILIES))
        raise InputError(f"model_type {family!r} is not modelled{hint}; want one of: {', '.join(_FAMILIES)}", where)
    _refuse_variants(config, family, where)
    return family


def _refuse_variants(config: Mapping[str, Any], family: str, where: str) -> None:
    """Refuse what a known family may switch on and `ModelShape` does not count."""
    for key in ("attention_bias", "mlp_bias"):
        if _flag(config, key, where):
            raise InputError(f"{key} true is not modelled; want false", where)
    if config.get("quantization_config") is not None:
        raise InputError("a quantised checkpoint; want the config.json of the model it was made from", where)
    # In qwen2 and qwen3 a switch decides and the size may stand there unused; in mistral the size is the switch.
    windowed = config.get("sliding_window") is not None
    slides = windowed if family == "mistral" else _flag(config, "use_sliding_window", where)
    if slides or "sliding_attention" in str(config.get("layer_types", "")):
        raise InputError("sliding-window attention is not modelled; want full attention in every layer", where)
    architectures = config.get("architectures")
    if architectures is not None and "ForCausalLM" not in str(architectures):
        raise InputError(f"want a causal language model, got architectures {architectures}", where)


def _missing(key: str, where: str) -> NoReturn:
    raise InputError(f"no key {key!r}; want the config.json of a dense decoder", where)


def _refuse_misspelt(config: Mapping[str, Any], where: str) -> None:
    """Refuse a key that is almost one that is read, which would else silently take its default."""
    for key in config:
        close = [] if key in _READ_KEYS else difflib.get_close_matches(key, _READ_KEYS, n=1, cutoff=_ALMOST)
        if close and close[0] not in config:
            raise InputError(f"unknown key {key!r}; did you mean {close[0]!r}?", where)


def _dimension(config: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        if default is None:
            _missing(key, where)
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_DIMENSION:
        raise InputError(f"{key}: want a whole number from 1 to {_MAX_DIMENSION}, got {value!r}", where)
    return value


def _flag(config: Mapping[str, Any], key: str, where: str) -> bool:
    value = config.get(key, False)  # the library's default for each of these in every family here
    if not isinstance(value, bool):
        raise InputError(f"{key}: want true or false, got {value!r}", where)
    return value


def _dtype_bytes(config: Mapping[str, Any], where: str) -> int:
    key = "dtype" if "dtype" in config else "torch_dtype"  # renamed in transformers 4.56
    value = config.get(key)
    if value is None:
        _missing("torch_dtype", where)
    if not isinstance(value, str) or value not in _DTYPE_BYTES:
        hint = did_you_mean(str(value), list(_DTYPE_BYTES))
        raise InputError(f"{key}: want one of {', '.join(_DTYPE_BYTES)}, got {value!r}{hint}", where)
    return _DTYPE_BYTES[value]
