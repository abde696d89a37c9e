"""What do other tools read? Results in their formats: one module per target, one line in `EXPORTS`.

A target takes a saved folder and returns the files that it wants written; nothing here writes.
"""

from simkv.export import aiperf, hicache, latex, lmcache, mooncake, perfetto, vllm, vllm_bench
from simkv.export.target import Choice, Export

#: Targets of `simkv report DIR --export NAME`.
EXPORTS: dict[str, Export] = {
    "perfetto": Export(perfetto.make, "who did what when, as a Chrome trace for the Perfetto UI"),
    "aiperf": Export(aiperf.make, "one arm and replication as aiperf saves a run; `aiperf plot` reads it"),
    "vllm-bench": Export(vllm_bench.make, "arms with the keys of `vllm bench serve`, and what `sweep plot` reads"),
    "mooncake": Export(
        mooncake.make, "the load of one arm and replication as a trace, to be replayed on a real server"
    ),
    "lmcache": Export(lmcache.make, "an arm as LMCache's YAML, with the least hit that is worth fetching"),
    "hicache": Export(hicache.make, "an arm as the flags of SGLang with HiCache, threshold and timeouts included"),
    "latex": Export(latex.make, "the main table of a run or sweep as a LaTeX tabular with booktabs rules"),
    "vllm": Export(vllm.make, "an arm as the flags of `vllm serve`, with LMCache's YAML where it fetches KV"),
}

__all__ = ["EXPORTS", "Choice", "Export"]
