"""The experiments, keys and surrogate of the data folder of November 2026, and `make`, which makes all of it.

Written against the code of commit 96c98c3 and left as it is; see `make_folder_2026_11`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from loopwright.app.surrogates import calibrate, store
from tests.data.feedback_2026_11 import send_burst, send_every_shape, send_personal
from tests.flow.old_folder import FROM_MS

from loopwright.app.embedded import Loop
from loopwright.app.settings import Settings
from loopwright.app.wiring import Services
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import SCOPES
from loopwright.core.experiment import Caps, PolicyChoice
from loopwright.core.gate import Condition, Fixed, Gate, Rule
from loopwright.core.reward import RewardSpec
from loopwright.eventlog import Sealer
from loopwright.feedback import RawCopies
from loopwright.testing import ManualClock

DAY: Final = 86_400
TEN_YEARS: Final = 10 * 365 * DAY
RAW_DAYS: Final = 36_500
"""So that the raw copies are there however late the test runs; the setting ends at a year."""
SEGMENT_ROWS, KEPT_IN_LOG = 400, 300
OTHER_POLICIES: Final = {
    "GaussianThompson": 0, "UCB1Tuned": 0, "KLUCB": 0, "MOSS": 0, "MOSSAnytime": 0, "EXP3": 0, "FPL": 0,
    "EpsilonGreedy": 0, "Uniform": 0, "LinThompson": 3,
}  # fmt: skip
"""Every policy that the default tenant does not use, with the dimension of its context."""


class Maker:
    """One folder in the making: the services behind it, both tenants' doors, and what a test has to know."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(FROM_MS)
        self.rng = random.Random(2026)
        settings = Settings(data_dir=folder, raw_copies=True, raw_ttl_days=365)
        self.services = Services(settings, clock=self.clock, rng=random.Random(11))
        self.services.catalog.create_tenant("acme", name="Acme", actor="make_folder")
        # Not `start`: its housekeeping runs by the clock of the machine.
        self.services.learner.start()
        self.raw = SqliteDatabase(folder / "raw.db", is_private=True)
        self.services.raw = self.services.typed_intake.raw = RawCopies(
            self.raw, people=self.services.people, clock=self.clock, ttl_days=RAW_DAYS
        )
        self.home = Loop(self.services, "default")
        self.acme = Loop(self.services, "acme")
        self.known: dict[str, Any] = {"secrets": {}, "tokens": {}, "sticky": {}}

    def wait(self) -> None:
        """Let everything that was sent be learned."""
        assert self.home.wait_until_learned(60)

    def play(
        self, id: str, n: int, *, loop: Loop | None = None, dimension: int = 0, rewarded: float = 1.0,
        people: int = 40, low: float = 0.0, high: float = 1.0,
    ) -> list[str]:  # fmt: skip
        """Select `n` times, ten seconds apart, and reward that share; return the tokens without a reward."""
        loop = loop or self.home
        left = []
        is_binary = (low, high) == (0.0, 1.0)
        for k in range(n):
            vector = [round(self.rng.random(), 3) for _ in range(dimension)]
            context = {"vector": vector} if dimension else None
            chosen = loop.agent.select(id, context, unit_id=f"unit-{k % people}")
            self.clock.advance(seconds=5)
            odds = 0.3 + 0.25 * (ord(chosen.arm.id[-1]) % 3)
            reward = float(self.rng.random() < odds)
            if not is_binary:
                reward = round(low + (high - low) * (odds * 0.6 + self.rng.random() * 0.4), 3)
            if self.rng.random() < rewarded:
                loop.agent.feedback(chosen.request_id, reward)
            else:
                left.append(chosen.request_id)
            self.clock.advance(seconds=5)
        self.wait()
        return left

    def open_tokens(
        self, id: str, n: int = 4, *, loop: Loop | None = None, dimension: int = 0
    ) -> None:
        """Keep tokens that have no feedback yet."""
        loop = loop or self.home
        context = {"vector": [0.25] * dimension} if dimension else None
        found = [loop.agent.select(id, context, unit_id=f"late-{k}").request_id for k in range(n)]
        self.known["tokens"].setdefault(id, []).extend(found)
        self.wait()

    def send(
        self, path: str, items: Sequence[dict[str, Any]], *, loop: Loop | None = None
    ) -> list[int]:
        """Send items as if to the HTTP route of that name; return their statuses."""
        loop = loop or self.home
        return [result.status for result in loop.feedback._take(path, items)]  # type: ignore[arg-type]  # a plain str

    def expect(self, status: int, path: str, items: Sequence[dict[str, Any]]) -> None:
        """Send items for the default tenant and check that each is answered with this status."""
        found = self.send(path, items)
        assert found == [status] * len(items), (path, found)

    async def append(self, facts: Sequence[Any], keys: Sequence[bytes | None]) -> Any:
        """Append facts as the server does."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        turn = asyncio.get_running_loop().call_soon_threadsafe
        self.services.writer.submit(facts, keys, lambda outcome: turn(done.set_result, outcome))
        return await done


def make_experiments(m: Maker) -> None:
    """Experiments in every state and with every kind of reward, gate and cap."""
    create, arms = m.home.experiments.create, ["formal", "casual", "short"]
    create("resting", arms=arms, policy="BetaThompson", name="Paused with a backlog")
    resting = m.play("resting", 50, rewarded=0.6)
    m.home.experiments.pause("resting")
    for request_id in resting[:10]:
        m.clock.advance(seconds=1)
        m.home.agent.feedback(request_id, 1)
    m.known["tokens"]["resting"] = resting[10:14]
    create("greeting", arms=arms, policy="BetaThompson", name="Greeting")
    m.known["tokens"]["greeting"] = m.play("greeting", 200, rewarded=0.95)[:3]
    create("routing", arms=["a", "b"], policy=PolicyChoice("LinUCB", {"alpha": 0.7}), dimension=4,
           reward=RewardSpec(type="bounded", low=0, high=10))  # fmt: skip
    m.play("routing", 80, dimension=4, high=10)
    create("over", arms=["a", "b"])
    m.play("over", 30)
    m.home.experiments.end("over")
    create("sketch", arms=["a", "b"], policy="KLUCB", start=False)
    create(
        "delayed", arms=["a", "b"], reward=RewardSpec(metric="clicked", window_s=3600, default=0)
    )
    make_delayed(m)
    create("lasting", arms=["a", "b"], reward=RewardSpec(window_s=TEN_YEARS, default=0))
    m.play("lasting", 20, rewarded=0.4)
    latest = RewardSpec(type="bounded", low=-1, high=1, duplicates="latest")
    create("revised", arms=["a", "b"], reward=latest)
    for k in range(20):
        token = m.home.agent.select("revised").request_id
        for value in (-0.5, round(m.rng.uniform(-1, 1), 3))[: 1 + k % 2]:
            m.home.agent.feedback(token, value)
            m.clock.advance(seconds=7)
    create(
        "summed",
        arms=["a", "b"],
        reward=RewardSpec(type="bounded", low=0, high=5, duplicates="add"),
    )
    for k in range(10):
        token = m.home.agent.select("summed").request_id
        for _ in range(1 + k % 3):
            m.home.agent.feedback(token, 1.5)
    create("capped", arms=["a", "b"], trust=Caps(per_person=2, per_session=3, per_address=20))
    m.play("capped", 40, people=6)


def make_delayed(m: Maker) -> None:
    """Rewards within the window, one after it, and the default for what stays without."""
    tokens = [m.home.agent.select("delayed").request_id for _ in range(30)]
    for token in tokens[:10]:
        m.home.agent.feedback(token, 1, metric="clicked")
    m.clock.advance(seconds=2 * 3600)
    m.home.agent.feedback(tokens[11], 1, metric="clicked")
    m.wait()


def make_gated(m: Maker) -> None:
    """A gate with rules, a rollout and sticky units."""
    big = Condition("metadata.seats", "ge", 100)
    rules = (
        Rule("big", (big,), Fixed("b")),
        Rule("team", (Condition("unit_id", "in", ("ann", "bo")),)),
    )
    gate = Gate(rules=rules, rollout=60, default_arm="a", sticky=True, epoch=3)
    m.home.experiments.create("gated", arms=["a", "b", "c"], gate=gate)
    for k in range(60):
        context = {"metadata": {"seats": 10 * k % 150}}
        token = m.home.agent.select("gated", context, unit_id=f"unit-{k}").request_id
        m.home.agent.feedback(token, k % 2)
        m.clock.advance(seconds=3)
    m.wait()
    for k in range(20):
        chosen = m.home.agent.select("gated", unit_id=f"sticky-{k}")
        m.known["sticky"][f"sticky-{k}"] = [chosen.arm.id, chosen.mode, chosen.rule]


def make_rolled_back(m: Maker) -> None:
    """Kept snapshots, and one experiment that was put back to one of them."""
    learner = m.services.learner
    m.home.experiments.create("rolled", arms=["a", "b"])
    m.play("rolled", 20)
    kept = learner.take_snapshot("default", "rolled")
    m.play("rolled", 20)
    learner.take_snapshot("default", "rolled")
    learner.take_snapshot("default", "greeting")
    learner.take_snapshot("default", "routing")
    learner.roll_back("default", "rolled", version=kept.version, actor="make_folder")
    m.wait()
    m.play("rolled", 6)


def make_acme(m: Maker) -> None:
    """The second tenant: an experiment for each of the other policies, and a person of the same user id."""
    for policy, dimension in OTHER_POLICIES.items():
        id = f"with-{policy.lower()}"
        m.acme.experiments.create(id, arms=["a", "b", "c"], policy=policy, dimension=dimension or None,
                                  reward=RewardSpec(type="bounded", low=0, high=1))  # fmt: skip
        m.play(id, 18, loop=m.acme, dimension=dimension)
        m.open_tokens(id, 1, loop=m.acme, dimension=dimension)
    m.acme.experiments.add_arm("with-klucb", "d")
    stars = {"kind": "rating", "scale": "stars", "value": 2, "output_id": "o-1", "user_id": "u-17"}
    assert m.send("feedback", [stars], loop=m.acme) == [201]
    step = {
        "id": "step-1",
        "session_id": "s-4",
        "kind": "search",
        "user_id": "u-17",
        "outcome": "success",
    }
    assert m.send("step", [step], loop=m.acme) == [201]


def make_keys(m: Maker) -> None:
    """API keys with several scopes, one revoked, one rotated with grace; a rotated signing key."""
    catalog, secrets = m.services.catalog, m.known["secrets"]
    secrets["admin"] = (m.services.settings.data_dir / "admin.key").read_text().strip()
    for name, scopes in {"selecting": ["select"], "sending": ["feedback"], "reading": ["read"],
                         "managing": ["read", "manage"], "old": ["read"], "revoked": ["read"]}.items():  # fmt: skip
        issued = catalog.create_key("default", scopes, name=name)
        secrets[name] = issued.secret
        if name == "old":
            secrets["rotated"] = catalog.rotate_key(
                "default", issued.key.id, grace_s=30 * DAY
            ).secret
        if name == "revoked":
            catalog.revoke_key("default", issued.key.id)
    secrets["acme"] = catalog.create_key("acme", SCOPES, name="acme's own").secret
    m.services.ring.rotate()


def make_surrogate(m: Maker) -> None:
    """Calls of a task with signals and outcomes, the surrogate they make, and an experiment shaped by it."""
    for k in range(70):
        at_ms, call = m.clock.now_ms(), f"call-{k}"
        m.send("interaction", [{
            "id": call, "session_id": f"visit-{k}", "task": "support", "prompt_version": f"p{k % 2}",
            "model_version": "2026-10", "started_at": at_ms, "input_tokens": 500 + k,
            "server_latency_ms": 300 + 7 * k, "query": f"how to do thing {k % 9}", "user_id": f"u-{k % 12}",
        }])  # fmt: skip
        is_good = k % 3 != 0
        signal = {"kind": "signal", "name": "copy" if is_good != (k % 10 == 0) else "retry",
                  "output_id": call, "session_id": f"visit-{k}", "occurred_at": at_ms + 4000}  # fmt: skip
        outcome = {"kind": "outcome", "metric": "resolved", "value": float(is_good != (k % 11 == 0)),
                   "output_id": call, "occurred_at": at_ms + 60_000}  # fmt: skip
        assert m.send("feedback", [signal, outcome]) == [201, 201]
        m.clock.advance(seconds=60)
    settle_sessions(m)
    m.clock.advance(seconds=DAY)
    found = calibrate(m.services.warehouse, "default", "support", metric="resolved",
                      window_ms=3_600_000, now_ms=m.clock.now_ms())  # fmt: skip
    store(m.services.settings.data_dir, "default", found)
    spec = RewardSpec(
        metric="resolved", type="bounded", low=0, high=1, duplicates="latest", shaping="support"
    )
    m.home.experiments.create("shaped", arms=["a", "b"], reward=spec)
    for k in range(12):
        token = m.home.agent.select("shaped").request_id
        seen = {"type": "signal", "kind": "copy", "value": 1, "request_id": token, "at_ms": m.clock.now_ms(),
                "session_id": f"shaped-{k}", "event_id": f"shaped-copy-{k}"}  # fmt: skip
        assert m.send("signals", [seen]) == [201]
        m.clock.advance(seconds=20)
    settle_sessions(m)


def settle_sessions(m: Maker) -> None:
    """End every session and append what it shows."""
    for _ in range(3):
        m.clock.advance(seconds=3600)
        m.services.sessions.run()
        m.services.writer.flush()
    m.wait()


def keep_house(m: Maker) -> None:
    """Project into the warehouse's files, seal segments, trim the log."""
    services = m.services
    services._loader.run()
    sealer = Sealer(services.log, services.segments, consumed=services._consumers.slowest,
                    segment_rows=SEGMENT_ROWS, keep=KEPT_IN_LOG)  # fmt: skip
    assert sealer.seal()
    assert sealer.trim() > 0


def make(folder: Path) -> dict[str, Any]:
    """Make the folder and return what a test has to know of it."""
    m = Maker(folder)
    with closing(m.services), closing(m.raw):
        make_experiments(m)
        make_gated(m)
        make_rolled_back(m)
        m.open_tokens("routing", dimension=4)
        for id in ("delayed", "lasting", "revised", "summed", "capped", "rolled"):
            m.open_tokens(id)
        make_acme(m)
        make_keys(m)
        m.open_tokens("greeting")
        make_surrogate(m)
        send_every_shape(m)
        keep_house(m)
        send_burst(m)
        send_personal(m)
        settle_sessions(m)
        m.open_tokens("shaped")
        m.wait()
        m.known["made_until_ms"] = m.clock.now_ms()
    return m.known


def make_visits(folder: Path) -> None:
    """Make a folder whose sessions are still open: what they show is appended by the code that opens it next."""
    m = Maker(folder)
    with closing(m.services), closing(m.raw):
        m.home.experiments.create("greeting", arms=["a", "b"])
        for k in range(4):
            at_ms, token = m.clock.now_ms(), m.home.agent.select("greeting").request_id
            for turn, query in enumerate(("how do I pay", "how do I pay by card")[: 1 + k % 2]):
                call = {"id": f"open-{k}-{turn}", "session_id": f"open-{k}", "request_id": token, "task": "pay",
                        "started_at": at_ms + turn * 9000, "query": query, "user_id": f"u-{k}"}  # fmt: skip
                m.expect(201, "interaction", [call])
            if k > 1:
                seen = {"type": "signal", "kind": "copy", "value": 1, "request_id": token, "at_ms": at_ms + 12_000,
                        "session_id": f"open-{k}", "event_id": f"open-copy-{k}"}  # fmt: skip
                m.expect(201, "signals", [seen])
            m.clock.advance(seconds=15)
        m.services.sessions.run()
        m.services.writer.flush()
        m.wait()
