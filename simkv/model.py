"""What a model's shape implies: bytes of KV, weights, and floating-point operations.

Decoder-only transformers with grouped-query attention and a gated MLP, or experts in its place. How long a GPU
takes for these operations is not answered here (`compute/`), nor what a codec does to the bytes (`kv/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simkv import hf_config
from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.units import BITS_PER_BYTE

_KV_PAIR = 2  # a key and a value
_FLOP_PER_WEIGHT = 2  # one multiplication and one addition
_MLP_MATRICES = 3  # gate, up and down projection of a gated MLP


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers of a Hugging Face `config.json` that decide how much a model computes and stores.

    Attributes
    ----------
    name : as scenarios name it.
    layers : decoder blocks.
    hidden : width of the residual stream.
    heads, kv_heads : query heads, and key/value heads that they share; `heads` is a multiple of `kv_heads`.
    head_dim : width of one head; not always `hidden / heads`.
    intermediate : width of the gated MLP; not used where there are experts.
    vocab : rows of the embedding table.
    dtype_bytes : [bytes] one KV element.
    tied_embeddings : True when the output matrix is the embedding table.
    qkv_bias : True when the query, key and value projections add a bias (Qwen2, Qwen2.5).
    qk_norm : True when queries and keys are normalised per head (Qwen3).
    experts : gated MLPs in each layer of which a router chooses; 0 = one MLP for every token.
    experts_per_token : how many of them each token goes through.
    expert_intermediate : width of one expert.
    source : where the numbers were read.

    Examples
    --------
    >>> toy = ModelShape("toy", layers=4, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=8, vocab=16)
    >>> toy.kv_bytes(4)
    128
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    dtype_bytes: int = 2
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse shapes that no model has."""
        where = f"model {self.name!r}"
        for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab", "dtype_bytes"):
            if getattr(self, field) < 1:
                raise InputError(f"{field}: want at least 1, got {getattr(self, field)}", where)
        if self.heads % self.kv_heads:
            raise InputError(f"want heads to be a multiple of {self.kv_heads} kv_heads, got {self.heads}", where)
        experts = (self.experts, self.experts_per_token, self.expert_intermediate)
        if any(experts) and not (min(experts) >= 1 and self.experts_per_token <= self.experts):
            found = f"{self.experts}, {self.experts_per_token} a token, {self.expert_intermediate} wide"
            raise InputError(f"experts: want none, or at least as many as a token goes through, got {found}", where)

    @property
    def kv_bytes_per_token(self) -> int:
        """[bytes] KV of one token in all layers.

        Examples
        --------
        >>> get("Qwen2.5-3B").kv_bytes_per_token
        36864
        """
        return _KV_PAIR * self.layers * self.kv_heads * self.head_dim * self.dtype_bytes

    def kv_bytes(self, tokens: int) -> int:
        """Return the [bytes] of KV of so many tokens.

        Examples
        --------
        >>> round(get("Llama-3.1-70B").kv_bytes(4096) / 1e9, 2)
        1.34
        """
        return tokens * self.kv_bytes_per_token

    @property
    def layer_parameters(self) -> int:
        """Weights of one decoder block: attention, gated MLP or all experts with their router, norms."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        biases = query + 2 * key if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return self._layer_matrix_weights + biases + norms + self.experts * self._expert_weights

    @property
    def parameters(self) -> int:
        """All weights, as a model card counts them; a tied table counts once.

        Examples
        --------
        >>> get("Llama-3.1-8B").parameters
        8030261248
        """
        tables = 1 if self.tied_embeddings else 2
        return self.parameters_without_embeddings + tables * self.vocab * self.hidden

    @property
    def parameters_without_embeddings(self) -> int:
        """Weights other than the embedding table and the output matrix ("non-embedding" on model cards)."""
        return self.layers * self.layer_parameters + self.hidden  # + the last norm

    def weight_bytes(self, bits: int = 16) -> int:
        """Return the [bytes] that all weights occupy at `bits` bits each, rounded up.

        Examples
        --------
        >>> get("Llama-3.1-8B").weight_bytes()
        16060522496
        """
        if bits < 1:
            raise InputError(f"weights: want at least 1 bit each, got {bits}")
        return -(-self.parameters * bits // BITS_PER_BYTE)

    def streamed_weight_bytes(self, bits: int = 16) -> int:
        """Return the [bytes] of weights that any decode step reads.

        All but an embedding table that is only looked up, and but experts (see `expert_weight_bytes`).

        Examples
        --------
        >>> get("Llama-3.1-8B").weight_bytes() - get("Llama-3.1-8B").streamed_weight_bytes()
        1050673152
        """
        shared = self.parameters_without_embeddings - self.layers * self.experts * self._expert_weights
        return -(-(shared + self.vocab * self.hidden) * bits // BITS_PER_BYTE)

    def expert_weight_bytes(self, bits: int = 16) -> int:
        """Return the [bytes] of one expert in every layer; 0 for a model without experts.

        Examples
        --------
        >>> get("Qwen3-30B-A3B").expert_weight_bytes()
        452984832
        """
        return -(-self.layers * self._expert_weights * bits // BITS_PER_BYTE)

    def activated_experts(self, tokens: int) -> float:
        """Return how many experts of a layer some token of a step goes through, on average.

        Notes
        -----
        E (1 - (1 - k/E)^tokens) for k of E experts a token: each token's choice is taken to be uniform and
        independent of the others'. Real routers choose less evenly, so that fewer experts wake.

        Examples
        --------
        >>> [round(get("Qwen3-30B-A3B").activated_experts(tokens), 6) for tokens in (1, 2, 16)]
        [8.0, 15.5, 82.422511]
        """
        if not self.experts:
            return 0.0
        return self.experts * (1.0 - (1.0 - self.experts_per_token / self.experts) ** tokens)

    @property
    def linear_flop_per_token(self) -> int:
        """[flop] of the matrices of all layers for one token: two per weight; attention and lm_head excluded.

        Of experts those that the token goes through count.
        """
        weights = self._layer_matrix_weights + self.experts_per_token * self._expert_weights
        return _FLOP_PER_WEIGHT * self.layers * weights

    @property
    def lm_head_flop(self) -> int:
        """[flop] of the output matrix for one sequence that emits a token."""
        return _FLOP_PER_WEIGHT * self.vocab * self.hidden

    def attention_flop(self, new_tokens: int, cached_tokens: int = 0) -> int:
        """Return the [flop] of causal attention of new tokens over cached ones and over themselves.

        Parameters
        ----------
        new_tokens : [tokens] queries; each attends to itself and to all before it.
        cached_tokens : [tokens] whose KV is already there.

        Notes
        -----
        Scores and weighted sum cost two flop per element of a head each, for every pair of a query and a
        visible key; softmax is left out (Kaplan et al., Scaling Laws for Neural Language Models, 2020, table 1).

        Examples
        --------
        >>> toy = ModelShape("toy", layers=1, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=8, vocab=16)
        >>> toy.attention_flop(3, 2)  # pairs: 3 x 2 cached + 1 + 2 + 3
        96
        """
        pairs = new_tokens * cached_tokens + new_tokens * (new_tokens + 1) // 2
        return 2 * _FLOP_PER_WEIGHT * self.layers * self.heads * self.head_dim * pairs

    @property
    def _layer_matrix_weights(self) -> int:
        """Weights of the matrices that every token of a layer goes through."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)  # query, output; key, value
        router = self.hidden * self.experts
        return attention + (router if self.experts else _MLP_MATRICES * self.hidden * self.intermediate)

    @property
    def _expert_weights(self) -> int:
        return _MLP_MATRICES * self.hidden * self.expert_intermediate


#: What the config.json of each repository says: layers, hidden, heads, kv_heads, head_dim, intermediate, vocab.
#: The tests compare the parameter totals that follow with the published ones, to the last weight.
_SHAPES = (
    ("Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", 24, 896, 14, 2, 64, 4864, 151936),
    ("Qwen2.5-3B", "Qwen/Qwen2.5-3B", 36, 2048, 16, 2, 128, 11008, 151936),
    ("Qwen2.5-7B", "Qwen/Qwen2.5-7B", 28, 3584, 28, 4, 128, 18944, 152064),
    ("Qwen2.5-32B", "Qwen/Qwen2.5-32B", 64, 5120, 40, 8, 128, 27648, 152064),
    ("Qwen3-8B", "Qwen/Qwen3-8B", 36, 4096, 32, 8, 128, 12288, 151936),
    ("Qwen3-32B", "Qwen/Qwen3-32B", 64, 5120, 64, 8, 128, 25600, 151936),
    ("Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Instruct-2507", 48, 2048, 32, 4, 128, 6144, 151936),
    ("Llama-3-8B", "meta-llama/Meta-Llama-3-8B", 32, 4096, 32, 8, 128, 14336, 128256),
    ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B", 32, 4096, 32, 8, 128, 14336, 128256),
    ("Llama-3.1-70B", "meta-llama/Llama-3.1-70B", 80, 8192, 64, 8, 128, 28672, 128256),
    # v0.3: without the sliding window of v0.1, and with 768 more rows in its vocabulary
    ("Mistral-7B", "mistralai/Mistral-7B-v0.3", 32, 4096, 32, 8, 128, 14336, 32768),
)
_TIED = ("Qwen2.5-0.5B", "Qwen2.5-3B")  # tie_word_embeddings true in their config.json
#: num_experts, num_experts_per_tok, moe_intermediate_size
_EXPERTS = {"Qwen3-30B-A3B": (128, 8, 768)}


def _built_in(row: tuple[str, str, int, int, int, int, int, int, int]) -> ModelShape:
    name, repository, layers, hidden, heads, kv_heads, head_dim, intermediate, vocab = row
    experts, experts_per_token, expert_intermediate = _EXPERTS.get(name, (0, 0, 0))
    return ModelShape(
        *(name, layers, hidden, heads, kv_heads, head_dim, intermediate, vocab),
        tied_embeddings=name in _TIED,
        qkv_bias=name.startswith("Qwen2"),  # as every model of type qwen2 has
        qk_norm=name.startswith("Qwen3"),  # as every model of type qwen3 and qwen3_moe has
        experts=experts,
        experts_per_token=experts_per_token,
        expert_intermediate=expert_intermediate,
        source=f"https://huggingface.co/{repository}/blob/main/config.json",
    )


#: Shapes that a scenario may name.
BUILT_IN: Mapping[str, ModelShape] = {row[0]: _built_in(row) for row in _SHAPES}

#: The same by the name of the Hugging Face repository whose config.json was read.
_BY_REPOSITORY: Mapping[str, str] = {row[1]: row[0] for row in _SHAPES}


def built_in_name(name: str) -> str | None:
    """Return the name of the built-in shape that a name or a Hugging Face repository means; None = none.

    Examples
    --------
    >>> built_in_name("Qwen/Qwen3-32B"), built_in_name("Qwen3-32B"), built_in_name("gpt2")
    ('Qwen3-32B', 'Qwen3-32B', None)
    """
    return name if name in BUILT_IN else _BY_REPOSITORY.get(name)


def get(name_or_path: str, relative_to: Path | None = None) -> ModelShape:
    """Return a built-in shape by name, or the one that a Hugging Face `config.json` describes.

    Parameters
    ----------
    name_or_path : "Qwen2.5-3B", its repository "Qwen/Qwen2.5-3B", a path that ends in `.json`, or a folder that
        holds a `config.json`.
    relative_to : folder against which a relative path is read (that of the scenario); None = the current one.

    Raises
    ------
    InputError : no such model, or a file that `from_hf_config` refuses.

    Examples
    --------
    >>> get("Llama-3.1-8B").kv_bytes_per_token
    131072
    """
    built_in = built_in_name(name_or_path)
    if built_in is not None:
        return BUILT_IN[built_in]
    path = (relative_to or Path()) / name_or_path
    if name_or_path.endswith(".json") or path.is_dir():
        return from_hf_config(path)
    known = list(BUILT_IN)
    hint = did_you_mean(name_or_path.rpartition("/")[2], known)
    raise InputError(
        f"unknown model {name_or_path!r}{hint}; known: {', '.join(known)}, or the path of a Hugging Face config.json"
    )


def from_hf_config(path: Path) -> ModelShape:
    """Return the shape of the decoder that a Hugging Face `config.json` describes.

    Parameters
    ----------
    path : the file, or the folder that holds it; the shape is named after the folder.

    Raises
    ------
    InputError : see `hf_config.read`.

    Examples
    --------
    >>> from_hf_config(Path("absent/config.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent/config.json: no such file
    """
    return ModelShape(**hf_config.read(path))
