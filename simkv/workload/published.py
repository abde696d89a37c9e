"""Which recorded traces do others publish, where, and how does one know that what came is what they published?

An address names one commit, so that what lies there cannot change unseen. Files that could be read when this table was
made are known by their SHA-256; larger ones by the id that Git gives their content, as the commit has it. What lies
outside a repository, or whose repository could not be read, has no such proof and is not here: the Azure traces of
2024, the later parts of BurstGPT, Qwen-Bailian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A file that somebody publishes.

    Attributes
    ----------
    name : by which `simkv trace fetch` knows it.
    url : at one commit.
    digest : `sha256:` and 64, or `git:` and 40 hexadecimal digits.
    size_bytes : [bytes]; None = not known beforehand.
    licence, cite : of those who publish it.
    use : what to do with it next; FILE stands for it.
    """

    name: str
    url: str
    digest: str
    size_bytes: int | None
    licence: str
    cite: str
    use: str

    @property
    def file_name(self) -> str:
        """As its publisher calls it."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class _Source:
    """What the files of one repository have in common: where they lie at one commit, and whose they are."""

    base: str
    licence: str
    cite: str
    use: str


_RAW = "https://raw.githubusercontent.com"
_INFO = "simkv trace info FILE"
_AZURE = _Source(
    f"{_RAW}/Azure/AzurePublicDataset/b469a113cedca53ddc3bdea71a143dc4b7d8700c/data",
    "CC BY 4.0",
    "Patel et al., Splitwise, ISCA 2024",
    _INFO,
)
_BURSTGPT = _Source(
    f"{_RAW}/HPMLL/BurstGPT/e92f533b6c85ea7f4164fb3d97d1aa2c3edacbc8/data",
    "CC BY 4.0",
    "Wang et al., BurstGPT, KDD 2025, doi:10.1145/3711896.3737413",
    _INFO,
)
_MOONCAKE = _Source(
    f"{_RAW}/kvcache-ai/Mooncake/3b5a594133958449a1feaf1c9e0fc1b553e34a28/FAST25-release",
    "Apache-2.0",
    "Qin et al., Mooncake, FAST 2025",
    _INFO,
)
_IRISH = _Source(
    f"{_RAW}/uccmisl/5Gdataset/306d92eba81cb4f1195d8b8eba625666a02a10ec",
    "GPL-3.0",
    "Raca et al., Beyond Throughput, The Next Generation, MMSys 2020",
    "unzip FILE, then of a Download trace: simkv trace convert TRACE.csv out.csv -p kind=capacity",
)
_MAHIMAHI = _Source(
    f"{_RAW}/ravinet/mahimahi/ae477d437615b972217498ba52be07db17a15618/traces",
    "GPL-3.0",
    "Winstein et al., Sprout, NSDI 2013; Netravali et al., Mahimahi, USENIX ATC 2015",
    "simkv trace convert FILE out.csv",
)

#: Name, source, path at its base, digest, [bytes] size.
_FILES: tuple[tuple[str, _Source, str, str, int | None], ...] = (
    (
        *("azure-llm-2023-code", _AZURE, "AzureLLMInferenceTrace_code.csv"),
        *("sha256:54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6", 320_117),
    ),
    (
        *("azure-llm-2023-conv", _AZURE, "AzureLLMInferenceTrace_conv.csv"),
        *("sha256:2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8", 719_188),
    ),
    ("burstgpt-1", _BURSTGPT, "BurstGPT_1.csv", "git:f95dd2c84454b067fdd0973858c55ecfe31bdad7", None),
    (
        *("mooncake-conversation", _MOONCAKE, "traces/conversation_trace.jsonl"),
        *("sha256:b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df", 3_029_533),
    ),
    (
        *("mooncake-synthetic", _MOONCAKE, "traces/synthetic_trace.jsonl"),
        *("sha256:bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131", 1_136_313),
    ),
    (
        *("mooncake-toolagent", _MOONCAKE, "traces/toolagent_trace.jsonl"),
        *("git:b765599d1e0828b37f68d481563c385d3c11de54", None),
    ),
    (
        *("irish-5g", _IRISH, "5G-production-dataset.zip"),
        *("sha256:abc729d696b5e0ba34a9c6ed35a851f2868d2b5071be5efb8a49691c23bb1a9b", 2_177_094),
    ),
    (
        *("att-lte-driving-down", _MAHIMAHI, "ATT-LTE-driving.down"),
        *("sha256:73c58f41bf7a3f0fac82810ca61307521be1cf6b77a0e98093fd340bddfd161f", 2_306_644),
    ),
    (
        *("att-lte-driving-up", _MAHIMAHI, "ATT-LTE-driving.up"),
        *("sha256:d58a640b9bccd131a421bff6eaf727aba324d9258b35009655bbf68e087b9b29", 483_248),
    ),
    (
        *("att-lte-driving-2016-down", _MAHIMAHI, "ATT-LTE-driving-2016.down"),
        *("sha256:24a40538340de991e0a6595aefc381b11a3da0446176e69b51750707a57b0344", 271_440),
    ),
    (
        *("att-lte-driving-2016-up", _MAHIMAHI, "ATT-LTE-driving-2016.up"),
        *("sha256:ebb3d53674b77be4ed920ad91c4513a496e04e30da839e2ca8a627cb7269071e", 113_062),
    ),
    (
        *("tmobile-lte-driving-down", _MAHIMAHI, "TMobile-LTE-driving.down"),
        *("sha256:d48ff134fc29c36cc3c3dee203464246bd698f0faede42534a27b0cbe3057055", 3_443_315),
    ),
    (
        *("tmobile-lte-driving-up", _MAHIMAHI, "TMobile-LTE-driving.up"),
        *("git:08944aed62004a240f0c8ca4f5e730207442f83c", None),
    ),
    (
        *("tmobile-lte-short-down", _MAHIMAHI, "TMobile-LTE-short.down"),
        *("sha256:4f33dce8dd811b5702272af64aaf64d3913719919abd776edf1e0f7c0965da43", 1_211_415),
    ),
    (
        *("tmobile-lte-short-up", _MAHIMAHI, "TMobile-LTE-short.up"),
        *("sha256:1c0d1bf5417b07597724fd64afe676af3c1f337a4ccdde90106bf96b1bcf18b2", 1_005_225),
    ),
    (
        *("tmobile-umts-driving-down", _MAHIMAHI, "TMobile-UMTS-driving.down"),
        *("sha256:c97a74e7e6cf593d93b59f73db614bc6186bef510531636ad9961a3b9fc18024", 1_081_622),
    ),
    (
        *("tmobile-umts-driving-up", _MAHIMAHI, "TMobile-UMTS-driving.up"),
        *("sha256:f2dc7c8e57f4cf525fefaff2d68c18a9118fd1382ce9c240b1d324a2a60f8a65", 506_697),
    ),
    (
        *("verizon-evdo-driving-down", _MAHIMAHI, "Verizon-EVDO-driving.down"),
        *("sha256:60c9cd7b5d8be7d89d3807052a043f54787958f04cfd4c6c16fcdac6e2c3b9da", 321_953),
    ),
    (
        *("verizon-evdo-driving-up", _MAHIMAHI, "Verizon-EVDO-driving.up"),
        *("sha256:6055d60d234030035f59475dc1d39d99e7c2817b9fa5d485f1f0710b1aae2075", 520_867),
    ),
    (
        *("verizon-lte-driving-down", _MAHIMAHI, "Verizon-LTE-driving.down"),
        *("git:d431ad4a5ed9811588256bae5b14025cbdffd7fd", None),
    ),
    (
        *("verizon-lte-driving-up", _MAHIMAHI, "Verizon-LTE-driving.up"),
        *("git:b4ca49ef2a5a8d2e21162aaaf02b12d80f0f17e0", None),
    ),
    (
        *("verizon-lte-short-down", _MAHIMAHI, "Verizon-LTE-short.down"),
        *("sha256:c918436fbd6246af134c76585d9395881fdd27203c59a8902b9a7c675b8a8e3e", 365_580),
    ),
    (
        *("verizon-lte-short-up", _MAHIMAHI, "Verizon-LTE-short.up"),
        *("sha256:f6cd9049f58d70f12545772a3482ded085b6d50f06a2f4ff4afcfb6fe7976dcc", 434_258),
    ),
)


def _all() -> Iterator[Published]:
    for name, source, path, digest, size_bytes in _FILES:
        yield Published(name, f"{source.base}/{path}", digest, size_bytes, source.licence, source.cite, source.use)


#: What `simkv trace fetch` knows, by name.
PUBLISHED: dict[str, Published] = {each.name: each for each in _all()}
