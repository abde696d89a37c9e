"""What is promised of routing and acquisition policies: a server that there is, a plan that can be followed."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.kv.block import Run
from simkv.kv.prefix import Part
from simkv.kv.reusable import Reusable
from simkv.policies.acquisition import AcquisitionView, Delta, Plan
from simkv.policies.routing import VisibleRequest
from simkv.rng import stream
from simkv.testing.subject import Subject


@dataclass(frozen=True)
class _Server:
    """What a routing policy sees of a server."""

    name: str
    sessions: int
    requests: int
    prefill_tokens: int
    context_tokens: int
    cached_blocks: int

    def cached_tokens(self, request: VisibleRequest) -> int:
        """Return the front of the prompt, as far as it is here."""
        return request.reusable.cached_tokens(lambda run: min(run.count, self.cached_blocks), 16)


def routing_answers(subject: Subject) -> str:
    """Send turns of sessions, new and at home, to farms of all sizes; return all choices."""
    draws, said = stream(7, "routing"), []
    for count in (1, 2, 3, 8):
        policy = subject.make()
        for case in range(60):
            servers = [
                _Server(f"s-{index}", *(draws.randrange(most) for most in (5, 5, 900, 900, 300)))
                for index in range(count)
            ]
            home = None if case % 3 == 0 else draws.randrange(count)
            run = Run(1000 * case, 6 * case + 1)
            prompt = Reusable((Part(run, 16 * run.count, run),))
            request = VisibleRequest(draws.randrange(9), case, 16 * run.count + 5, home, prompt)
            choice = policy.choose(request, servers)
            known = type(choice) is int and 0 <= choice < count
            subject.want(known, f"it chooses {choice!r} of {count} servers; want an index")
            said.append(str(choice))
    return "\n".join(said)


def acquisition_answers(subject: Subject) -> str:
    """Ask how to get from nothing to a lot of KV; return all plans."""
    draws, said = stream(8, "acquisition"), []
    policy = subject.make()
    for case in range(60):
        tokens = draws.choice([0, 1, 100, 10_000])
        view = AcquisitionView(float(case), tokens, tokens * draws.choice([16, 4096, 131_072]), tokens * 4)
        plan = policy.decide(view)
        subject.want(isinstance(plan, Plan | Delta), f"it decides {plan!r}; want a Plan or a Delta")
        honest = subject.is_oracle or plan is not Plan.ASSUME
        subject.want(honest, "it assumes that KV is simply there: only oracles may")
        said.append(str(plan))
    return "\n".join(said)
