"""The backend that looks results up in a table, in simulated time."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nas.analysis.ladder import LadderRun, rung_spec
from nas.search.backends.base import BackendParts, OpenedBackend
from nas.search.engines.simulated import SimulatedEngine
from nas.search.longer.base import KnownRun
from nas.search.table.contents import all_members
from nas.search.table.evaluator import TableEvaluator
from nas.search.table.table import Table, find_table
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBackend:
    """Looks every candidate up in a table; conf/evaluator/table.yaml builds it.

    Its evaluators answer at once, so it brings an engine of its own, whose clock goes on by the
    seconds that the trainings took when the table was made.
    """

    why_not_inherit: ClassVar[str] = "evaluator=table, whose trainings have been made"

    def open(self, parts: BackendParts) -> OpenedBackend:
        """Read the table and check that it holds all that the search may ask for.

        Raises:
            ValueError: a member, a fidelity, a seed of its ladder or the scale is missing.
        """
        path = find_table(parts.table)
        table = Table.load(path)
        _check_members(table, parts)
        fidelities = _check_fidelities(table, parts)
        _check_ladder(table, parts)

        # The engine is made here, as the search's clock is the engine's.
        engine = SimulatedEngine()
        make_evaluator = functools.partial(
            TableEvaluator,
            table,
            fidelities=fidelities,
            challenge=parts.rules.challenge,
            limits=dict(parts.rules.limits),
            seed=parts.seed,
        )

        def explain_lack(spec: ArchSpec) -> str:
            return "" if spec.arch_id in table.entries else f"is not in table={parts.table}"

        return OpenedBackend(
            baseline=table.baseline,
            ladder_sizes=table.facts.ladder_sizes,
            fidelities=fidelities,
            make_evaluator=make_evaluator,
            # 64 bits of the file's hash tell tables apart.
            fingerprints={"table": hashlib.sha256(path.read_bytes()).hexdigest()[:16]},
            environment={"table": {"path": str(path), **table.facts.environment}},
            notices=[
                f"results are looked up in {path.name}: nothing is trained, seconds are simulated"
            ],
            conditions=table.facts.conditions,
            longer=_open_longer(table, parts),
            why_no_longer=_explain_no_longer(parts),
            lacks=explain_lack,
            engine=engine,
            clock=lambda: engine.now,
        )

    def lengthen(self, parts: BackendParts, *, factor: int, rate: float) -> BackendParts:
        """Return parts with the table's longest trainings, whatever factor and rate are.

        Raises:
            ValueError: the search used those already.
        """
        # Nothing can be trained anew: the table's own end is all there is.
        proxy = parts.training.proxy
        longest = Table.load(find_table(parts.table)).facts.fidelities[-1]
        if longest <= proxy.steps:
            raise ValueError(
                f"run={parts.run}: its table holds nothing longer than its {proxy.steps} steps"
            )
        longer = dataclasses.replace(proxy, steps=longest)
        training = dataclasses.replace(parts.training, proxy=longer)
        return dataclasses.replace(parts, training=training)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLadder:
    """The longer trainings of a table's ladder: those of seed 0, to the table's end."""

    table: Table

    @property
    def steps(self) -> int:
        """Return the steps of the table's trainings."""
        return self.table.facts.fidelities[-1]

    def find(self, size: str) -> KnownRun | None:
        """Return the training of a size; None: it failed."""
        facts = self.table.facts
        training = self.table.entries[rung_spec(size, facts.scale).arch_id].trainings[0]
        if training.error:
            return None
        run = LadderRun(
            rung=size,
            seed=0,
            psnr_db=training.curve[-1][1],
            base_db=facts.base_db,
            fidelity=self.steps,
            train_seconds=training.train_seconds,
            curve=training.curve,
        )
        return KnownRun(run=run, origin="in the table")

    def keep(self, run: LadderRun) -> str:
        """Keep nothing: the table holds its trainings."""
        return ""


def _open_longer(table: Table, parts: BackendParts) -> TableLadder | None:
    """Return a table's longer trainings; None where they are not asked for, or it holds none."""
    is_longer = table.facts.fidelities[-1] > parts.training.proxy.steps
    return TableLadder(table=table) if is_longer and parts.rules.ladder_long else None


def _explain_no_longer(parts: BackendParts) -> str:
    if not parts.rules.ladder_long:
        return "ladder_long=false"
    return f"table={parts.table} holds no training of more than {parts.training.proxy.steps} steps"


def _check_members(table: Table, parts: BackendParts) -> None:
    """Refuse a scale or a space that the table was not made of."""
    facts = table.facts
    if facts.scale != parts.scale:
        raise ValueError(f"scale={parts.scale}: table={parts.table} is of scale {facts.scale}")
    arch_ids = [spec.arch_id for spec in all_members(parts.space)]

    # A search that met an architecture without results could not go on.
    if outside := [arch_id for arch_id in arch_ids if arch_id not in table.entries]:
        raise ValueError(
            f"space: {len(outside)} of its {len(arch_ids)} members, such as {outside[0]}, are not "
            f"in table={parts.table}; give the space that it was made of: "
            f"{facts.settings.get('chosen_space', 'space=...')}"
        )


def _check_fidelities(table: Table, parts: BackendParts) -> tuple[int, ...]:
    """Return the steps at which trainings are read; refuse those that the table does not hold."""
    steps, read_at = parts.training.proxy.steps, table.facts.fidelities
    if steps not in read_at:
        raise ValueError(
            f"proxy.steps={steps}: table={parts.table} was read at {_join_numbers(read_at)} steps; "
            f"give one of these, such as proxy.steps={read_at[-1]}"
        )

    # Rungs are shares of the steps, so the way out is told in shares.
    fidelities = parts.training.fidelity.fidelities(steps)
    if missing := [fidelity for fidelity in fidelities if fidelity not in read_at]:
        shares = [f"{fidelity / steps:g}" for fidelity in read_at if fidelity < steps]
        raise ValueError(
            f"fidelity.rungs: table={parts.table} was not read at {_join_numbers(missing)} steps; "
            f"give fidelity.rungs=[{','.join(shares)}] or some of these"
        )

    return fidelities


def _check_ladder(table: Table, parts: BackendParts) -> None:
    """Refuse more seeds of the ladder than the table holds of each of its sizes."""
    # Each seed takes a training of its own from every size.
    specs = [rung_spec(size, parts.scale) for size in table.facts.ladder_sizes]
    num_seeds = min(len(table.entries[spec.arch_id].trainings) for spec in specs)
    if parts.rules.ladder_seeds > num_seeds:
        raise ValueError(
            f"ladder_seeds={parts.rules.ladder_seeds}: table={parts.table} holds {num_seeds} "
            "trainings of a rung"
        )


def _join_numbers(numbers: Sequence[int]) -> str:
    """List numbers in words."""
    return ", ".join(map(str, numbers))
