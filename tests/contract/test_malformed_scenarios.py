"""Every wrong scenario ends in one line that says where, what and what is wanted; exit code 2; nothing written."""

# ruff: noqa: E501 - one case a line, with its whole message
from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from simkv import cli
from simkv.errors import InputError
from simkv.scenario import from_text, load
from simkv.scenario.document import MAX_FILE_BYTES

ROOT = Path(__file__).resolve().parents[2]

VALID = """\
simkv: 1
name: tiny
model: Qwen2.5-3B
seed: 7
workload:
  trace: trace.jsonl
  composition: naive
servers:
  cloud: {gpu: analytic-a100-sxm, buffers: {hbm: {size: 40 GiB}}}
  phone:
    source: cloud
    gpu: {name: fixed, prefill_per_token: 10 ms, decode_step: 1 ms}
    buffers: {hbm: {size: 1 GiB}}
links:
  down: {from: cloud, to: phone, delay: 10 ms, capacity: 100 Mbit/s, transport: warm}
  up: {from: phone, to: cloud, delay: 10 ms, capacity: 20 Mbit/s, transport: warm}
policies:
  prefetch: none
arms:
  - {name: none}
  - {name: sure, policies: {prefetch: {name: threshold, threshold: 0.9}}}
"""

TOP = "known: simkv, name, model, seed, replications, workload, servers, links, policies, arms, run, sweep"

#: (what stands in VALID, what stands there instead, the whole message after the file's name)
MUTATIONS = [
    ("simkv: 1", "simkv: 2", ":1:8: simkv: want 1, the version of the format that this simkv reads, got 2"),
    ("simkv: 1\n", "", ":1:1: missing key 'simkv'"),
    ("name: tiny", "name: Tiny!", ":2:7: name: want a name of lower-case letters, digits and dashes, got 'Tiny!'"),
    ("seed: 7", "sede: 7", f":4:1: unknown key 'sede'; did you mean 'seed'?; {TOP}"),
    ("seed: 7", "seed: 7\nseed: 8", ":5:1: key 'seed' stands twice; first in line 4"),
    ("seed: 7", "seed: 1e6", ":4:7: seed: want a whole number, got 1000000.0"),
    ("seed: 7", "seed: -1", ":4:7: seed: want at least 0, got -1"),
    ("seed: 7", "seed: !!int 7", ":4:7: tag '!!int' is not used here; remove it"),
    ("seed: 7", "seed: *lost", ":4:7: alias *lost is used before its anchor &lost is complete"),
    ("seed: 7", "seed: 7\nsweep: 5", ":5:8: sweep: want lines such as 'links.slice.capacity: 10..1000 Mbit/s:log:8', got 5"),
    ("seed: 7", "seed: 7\nsweep: {}", ":5:8: sweep: want lines such as 'links.slice.capacity: 10..1000 Mbit/s:log:8', got a mapping"),
    ("seed: 7", "seed: 7\nsweep: {links.donw.delay: 1 ms}", ":5:27: unknown link 'donw'; did you mean 'down'?; known: down, up"),
    ("seed: 7", "seed: 7\nsweep: {links.down.dealy: 1 ms}", ":5:27: links.down: unknown key 'dealy'; did you mean 'delay'?; known: from, to, delay, capacity, transport, discipline, committed_bytes"),
    ("seed: 7", "seed: 7\nsweep:\n  links.down.delay: 1..5:lin:2", ":6:21: links.down.delay: want a time such as '20 ms', got 1 (no unit)"),
    ("seed: 7", "seed: 7\nsweep:\n  seed: 1..9:cub:3", ":6:9: sweep.seed: unknown scale 'cub'; want lin or log"),
    ("seed: 7", "seed: 7\nsweep: {seed: []}", ":5:15: sweep.seed: want at least one value, each for 1 path(s)"),
    ("seed: 7", "seed: 7\nsweep: {seed: {a: 1}}", ":5:15: sweep.seed: want a list of values or text such as '0.1,0.3', got a mapping"),
    ("seed: 7", "seed: 7\nsweep: {seed+replications: [[1, 2], [3]]}", ":5:28: sweep.seed+replications: want at least one value, each for 2 path(s)"),
    ("seed: 7", "seed: 7\nsweep: {seed: 1, replications+seed: 1|2}", ":5:18: sweep.replications+seed: seed varies twice; want each path once"),
    ("seed: 7", "seed: 7\nsweep: {sweep.seed: 1}", ":5:21: what a sweep varies is changed by -p PATH=VALUES"),
    ("trace.jsonl", "trace.json", ":6:10: workload.trace: no such file: {folder}/trace.json; did you mean 'trace.jsonl'?"),
    ("composition: naive", "composition: naive\n  starts: poisson", ":8:11: workload.starts: Poisson starts need session_rate, such as '2 /min'"),
    ("composition: naive", "composition: {name: blend, share: 1.5}", ":7:37: workload.composition.share: composition 'blend': want share in (0, 1], got 1.5"),
    ("composition: naive", "generator: independent-trigger", ":6:3: workload: want either trace: PATH or generator: NAME, not both"),
    ("gpu: analytic-a100-sxm", "gpu: analytic-a10-sxm", ":9:16: servers.cloud.gpu: unknown GPU profile 'analytic-a10-sxm'; did you mean 'analytic-a100-sxm'?; known: {gpus}"),
    ("size: 40 GiB", "size: 40 Gib", ":9:57: servers.cloud.buffers.hbm.size: want a size such as '16 GiB', got '40 Gib'"),
    ("{hbm: {size: 1 GiB}}", "{dram: {size: 1 GiB}}", ":13:15: servers.phone.buffers: want hbm, the only one simulated yet, got 'dram'"),
    ("source: cloud", "source: clod", ":11:13: servers.phone.source: no server 'clod'; did you mean 'cloud'?; servers: cloud, phone"),
    ("source: cloud", "source: cloud\n    engine: {speculative: leftovers}", ":12:27: servers.phone.engine.speculative: want idle_only or leftover, got 'leftovers'; did you mean 'leftover'?"),
    ("prefill_per_token: 10 ms", "prefill_per_token: 10", ":12:43: servers.phone.gpu.prefill_per_token: want a time such as '20 ms', got 10 (no unit)"),
    ("prefill_per_token: 10 ms", "prefil_per_token: 10 ms", ":12:24: servers.phone.gpu: GPU profile 'fixed' has no parameter 'prefil_per_token'; did you mean 'prefill_per_token'?; it takes: prefill_per_token, decode_step"),
    ("capacity: 100 Mbit/s", "capacity: 100 MB/s", ":15:58: links.down.capacity: want a rate such as '100 Mbit/s', got '100 MB/s'"),
    ("capacity: 100 Mbit/s", "capacity: {series: trace.jsonl, mean: 100 Mbps}", ":15:86: links.down.capacity.mean: want a rate such as '100 Mbit/s', got '100 Mbps'"),
    ("transport: warm}\n  up", "transport: wram}\n  up", ":15:81: links.down.transport: want ideal or warm, got 'wram'; did you mean 'warm'?"),
    ("links:\n", "links:\n  loop: {from: phone, to: phone, delay: 1 ms, capacity: 1 Mbit/s, transport: ideal}\n", ":15:27: links.loop.to: a link joins two servers, not one to itself"),
    ("links:\n", "links:\n  again: {from: cloud, to: phone, delay: 1 ms, capacity: 1 Mbit/s, transport: ideal}\n", ":16:3: links: link 'again' already goes from cloud to phone; want one link a direction"),
    ("prefetch: none", "prefetch: nona", ":18:13: policies.prefetch: unknown prefetch policy 'nona'; did you mean 'none'?; known: {prefetches}"),
    ("prefetch: none", "prefetch:", ":18:12: policies.prefetch: want a value, got nothing; leave the key out for its default"),
    ("prefetch: none", "codec: int3", ":18:10: policies.codec: unknown codec 'int3'; did you mean 'int8'?; known: identity, int4, int8"),
    ("prefetch: none", "codec: {name: int4, group: 0}", ":18:30: policies.codec.group: codec 'int4': group: want at least 1 element a scale, got 0"),
    ("threshold: 0.9", "threshold: 1.5", ":21:68: arms.sure.policies.prefetch.threshold: prefetch policy 'threshold': threshold must be in [0, 1], got 1.5"),
    ("threshold: 0.9", "threshold: .nan", ":21:68: arms.sure.policies.prefetch.threshold: want a finite number, got nan"),
    ("threshold: 0.9", "threshold: yes", ":21:68: arms.sure.policies.prefetch.threshold: want a number, got 'yes'"),
    ("{name: sure", "{name: none", ":21:12: arms.none.name: a second arm is called 'none'"),
    ("arms:\n", "arms:\n  - none\n", ":20:5: arms[0]: want a mapping, got 'none'"),
    ("seed: 7", "seed: 7\nreplications: true", ":5:15: replications: want a whole number, got true"),
    ("model: Qwen2.5-3B", "model: [a]", ":3:8: model: want a model such as 'Qwen2.5-3B', or the path of a config.json, got a list"),
    ("trace: trace.jsonl", "trace: ..", ":6:10: workload.trace: want a file, got the folder {parent}"),
    ("trace: trace.jsonl", "trace: 7", ":6:10: workload.trace: want the path or URL of a file, got 7"),
    ("trace: trace.jsonl", "generator: sequential-reading\n  turns: ten", ":7:10: workload.turns: want a whole number, got 'ten'"),
    ("trace: trace.jsonl", "generator: sequential-reading\n  limit: 3", ":7:3: workload: limit belongs to a trace; this workload has none"),
    ("composition: naive", "format: mooncak", ":7:11: workload.format: unknown trace format 'mooncak'; did you mean 'mooncake'?; known: {formats}"),
    ("composition: naive", "session_rate: 2 /min\n  starts: recorded", ":8:11: workload.starts: recorded starts leave no use for session_rate; remove one of the two"),
    ("composition: naive", "sessions: 3", ":7:13: workload.sessions: recorded starts replay every session once; want session_rate to draw some, or limit for fewer requests"),
    ("source: cloud", "source: phone", ":11:13: servers.phone.source: a server is no source for itself"),
    ("gpu: analytic-a100-sxm", "gpu: analytic", ":9:16: servers.cloud.gpu: GPU profile 'analytic' needs the parameter 'peak'"),
    ("gpu: analytic-a100-sxm", "gpu: 7", ":9:16: servers.cloud.gpu: want the name of a GPU profile, got 7; known: {gpus}"),
    ("{hbm: {size: 1 GiB}}", "{}", ":13:14: servers.phone.buffers: missing key 'hbm': {size: ...}"),
    ("prefetch: none", "prefetch: {threshold: 0.3}", ":18:13: policies.prefetch: missing key 'name': which prefetch policy; known: {prefetches}"),
    ("prefetch: none", "predictor: {name: no.such.Thing}", ":18:21: policies.predictor.name: cannot import predictor 'no.such.Thing': No module named 'no'"),
    ("prefetch: none", "prefetch: {name: threshold, kind: txt}", ":18:37: policies.prefetch.kind: want one of: kv, text, compute, got 'txt'; did you mean 'text'?"),
    ("{name: none}", "{name: none, servers: {fone: {buffers: {hbm: {size: 1 B}}}}}", ":20:28: arms.none.servers: no server 'fone'; did you mean 'phone'?; servers: cloud, phone"),
    ("arms:\n", "run: {horizon: 0 s}\narms:\n", ":19:16: run.horizon: want a time such as '20 ms', above zero, got '0 s'"),
    ("  - {name: none}", "\t- {name: none}", ":20:1: not valid YAML: found character '\\t' that cannot start any token"),
]  # fmt: skip

#: (whole file, the whole message after the file's name)
WHOLE = [
    (b"", ": is empty"),
    (b"# nothing but a remark\n", ": is empty"),
    (b"- simkv: 1\n", ":1:1: want a mapping that starts with 'simkv: 1', got a list"),
    (b"simkv: 1\n---\nsimkv: 1\n", ":2:1: a second document starts here; want one document"),
    (b"simkv: 1\nname: caf\xe9\n", ":2:10: byte 0xe9 is not UTF-8; want a text file in UTF-8"),
    (b"simkv: 1\nname: a\x07b\n", ":2:8: character U+0007 is not allowed in YAML"),
    (b"simkv: [1\n", ":2:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    (b"? [a]\n: b\n", ":1:3: want a plain word as key"),
    (b"a: " + b"[" * 5000, ":1:28: nested more than 24 deep"),
    (b"seed: " + b"9" * 5000, ":1:7: a number of 5000 characters is not meant"),
    (b"#" * (MAX_FILE_BYTES + 1), ": is larger than 262 kB; a scenario names its data, it does not hold them"),
    (
        b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 10)) for i in range(9)),
        ":5:8: more than 20000 values, aliases expanded",
    ),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scenario lies and the command runs."""
    (tmp_path / "trace.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the scenario; check that it ends as wrong input does; return what stderr says."""
    before = sorted(folder.rglob("*"))
    assert cli.main(["run", str(folder / "bad.yaml")]) == cli.INVALID
    said = capsys.readouterr()
    assert said.out == ""
    assert sorted(folder.rglob("*")) == before
    return said.err


def test_the_valid_one_is_valid(folder: Path) -> None:
    """Or the mutations would prove nothing."""
    assert from_text(VALID, folder / "good.yaml").name == "tiny"


@pytest.mark.parametrize(("old", "new", "message"), MUTATIONS, ids=[case[1].strip()[:40] for case in MUTATIONS])
def test_mutated(folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str) -> None:
    """One change in a valid file, one line."""
    from simkv.compute.profile import PROFILES
    from simkv.policies import PREFETCH
    from simkv.workload import FORMATS

    assert old in VALID
    (folder / "bad.yaml").write_text(VALID.replace(old, new, 1))
    expected = message.replace("{folder}", str(folder)).replace("{parent}", str(folder.parent))
    for name, registry in (("{gpus}", PROFILES), ("{prefetches}", PREFETCH), ("{formats}", FORMATS)):
        expected = expected.replace(name, ", ".join(registry.names()))
    assert refused(folder, capsys) == f"error: {folder}/bad.yaml{expected}\n"


@pytest.mark.parametrize(("content", "message"), WHOLE, ids=[case[1][-30:] for case in WHOLE])
def test_hopeless(folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str) -> None:
    """Files that are no scenario at all, and files made to hurt; each within a second."""
    (folder / "bad.yaml").write_bytes(content)
    start_s = time.process_time()
    assert refused(folder, capsys) == f"error: {folder}/bad.yaml{message}\n"
    assert time.process_time() - start_s < 1.0


def test_absent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A like-named neighbour is offered."""
    (folder / "bed.yaml").write_text("")
    assert refused(folder, capsys) == f"error: {folder}/bad.yaml: no such file; did you mean 'bed.yaml'?\n"


def test_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder is no scenario."""
    (folder / "bad.yaml").mkdir()
    assert refused(folder, capsys) == f"error: {folder}/bad.yaml: is a folder; want a YAML file\n"


def test_all_faults_are_told_at_once_in_order(folder: Path) -> None:
    """Whoever made three mistakes need not run three times."""
    text = VALID.replace("seed: 7", "seed: x").replace("size: 40 GiB", "size: 40").replace("20 Mbit/s", "20 Mbps")
    with pytest.raises(InputError) as caught:
        from_text(text, Path("a.yaml"))  # the trace exists in the folder where the test runs
    assert [line.split(": want")[0] for line in str(caught.value).splitlines()] == [
        "a.yaml:4:7: seed",
        "a.yaml:9:57: servers.cloud.buffers.hbm.size",
        "a.yaml:16:56: links.up.capacity",
    ]


def test_mutated_bytes_never_crash(folder: Path) -> None:
    """Whatever happens to a file's bytes, loading says yes or says why not."""
    draws = random.Random(20)
    raw = (ROOT / "scenarios" / "three_turns.yaml").read_bytes()
    refusals = []
    for _ in range(300):
        mutated = bytearray(raw)
        for _ in range(draws.randint(1, 6)):
            place = draws.randrange(len(mutated))
            match draws.randrange(4):
                case 0:
                    mutated[place] = draws.randrange(256)
                case 1:
                    del mutated[place : place + draws.randint(1, 20)]
                case 2:
                    mutated[place:place] = draws.choice(
                        [b"&a ", b"*a", b"{", b"]", b"\n", b"- ", b": ", b"'", b"1e999", b"!!x "]
                    )
                case _:
                    mutated += mutated[place : place + 50]
        (folder / "bad.yaml").write_bytes(bytes(mutated))
        try:
            load(folder / "bad.yaml")
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(line.startswith(str(folder / "bad.yaml")) for line in refusals)
