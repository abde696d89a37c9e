"""What do other tools read? Results in their formats: one module per target, one line in `EXPORTS`.

A target takes a saved folder and returns the files that it wants written; nothing here writes.
"""

from simkv.export import aiperf, hicache, latex, lmcache, mooncake, perfetto, vllm, vllm_bench
from simkv.export.target import Choice, Export

_ARM = ("arm",)
_ONE = ("arm", "replication")
_PLAYED = ("arm", "replication", "sessions", "window")

#: Targets of `simkv report DIR --export NAME`.
EXPORTS: dict[str, Export] = {
    "perfetto": Export(perfetto.make, "who did what when, as a Chrome trace for the Perfetto UI", _PLAYED),
    "latex": Export(latex.make, "the main table of a run or sweep as a LaTeX tabular with booktabs rules", ()),
    "aiperf": Export(aiperf.make, "one arm and replication as aiperf saves a run; `aiperf plot` reads it", _ONE),
    "vllm-bench": Export(
        vllm_bench.make, "arms with the keys of `vllm bench serve`, and what `sweep plot` reads", _ONE
    ),
    "mooncake": Export(mooncake.make, "the load of one arm and replication as a trace, for a real server", _ONE),
    "lmcache": Export(lmcache.make, "an arm as LMCache's YAML, with the least hit that is worth fetching", _ARM),
    "hicache": Export(
        hicache.make, "an arm as the flags of SGLang with HiCache, threshold and timeouts included", _ARM
    ),
    "vllm": Export(vllm.make, "an arm as the flags of `vllm serve`, with LMCache's YAML where it fetches KV", _ARM),
}

__all__ = ["EXPORTS", "Choice", "Export"]
