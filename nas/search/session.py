"""One session of a search, from its checks to its last file.

`nas search` and `nas.Search` run it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from nas.analysis.lasting import LongerPlan
from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.search.asking import Asker
from nas.search.backends.base import OpenedBackend
from nas.search.config import SearchConfig
from nas.search.controller import Controller
from nas.search.engines.base import Placement
from nas.search.engines.tasks import started
from nas.search.feasibility import check_inheritance, check_limits, check_members, why_empty
from nas.search.model.decisions import read_decisions
from nas.search.screen import GuardedScreen, OpenScreen, show_nothing
from nas.search.shown_run import ShownRun
from nas.search.store.journal import find_journal, lock_run, open_storage
from nas.search.store.run_folder import former, run_directory
from nas.search.store.run_folder.resuming import Resumption, compare_conditions, inspect_folder
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import check_config
from nas.search.store.run_folder.settings import hash_settings, shown_settings
from nas.search.store.study import Study
from nas.search.store.trials import StudyRules
from nas.search.warm_start import WarmStart, read_earlier
from nas.system.faults import ClosedOutputError, MachineError, blaming_machine
from nas.system.files.made_folders import make_folders, remove_folders
from nas.system.files.record_file import read_header, recover

INHERITED = (
    "inherit=true: candidates start from weights of this run (column inherits), so their PSNR "
    "holds more training than proxy.steps; the ladder starts fresh and does not judge that."
)
RUNS = Path("runs")  # where a run lies that was not named
PLANNED_TRIALS = 200  # where no number of trials is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search has found.

    Attributes:
        folder: the run directory.
        state: the run, as the report shows it.
        reason: why the search ended, in words.
        unwritten: which files could not be written and how to make them; empty: all were.
    """

    folder: Path
    state: RunState
    reason: str
    unwritten: str = ""

    @property
    def trials(self) -> pd.DataFrame:
        """All rows, the baseline first; its columns are those of trials.csv."""
        return table(self.state)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of the Pareto front, the best score first."""
        return front_table(self.trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckedSearch:
    """What is known of a search once it was checked, before anything is written."""

    resumption: Resumption
    placement: Placement
    backend: OpenedBackend
    earlier: WarmStart
    notices: tuple[str, ...]


class SearchSession:
    """One session of a search: it begins in a run directory, or goes on there.

    Args:
        config: what is searched, by whom and for how long.
        render: makes the report's page of a run.
        open_screen: opens what shows the search while it runs; called once, with the run as it
            stands then.
    """

    def __init__(
        self,
        config: SearchConfig,
        *,
        render: Callable[[RunState], str],
        open_screen: OpenScreen = show_nothing,
    ) -> None:
        self.config = config
        self.render = render
        self.open_screen = open_screen

    def run(self) -> SearchResult:
        """Search until the budget is spent.

        Raises:
            ValueError: something that was asked for cannot be done; the message starts with its
                key, and nothing was written but where the ladder itself failed.
            MachineError: the disk, the data, the device or workers failed; all that had finished is
                in the run directory, which can be gone on with.
            KeyboardInterrupt: the user stopped it; all that had finished is in the run directory.
            ClosedOutputError: whoever read what is shown has gone; as above.
        """
        # A name of ours is taken before anything else: another search may start this second.
        made_folders: list[Path] = []
        if self.config.run is None:
            folder, made_folders = former.claim_folder(RUNS, self.config.name)
            self.config = replace(self.config, run=folder)
        try:
            checked = self._check()
        except BaseException:
            remove_folders(made_folders)
            raise

        # From here on something is written; what brings no result leaves nothing behind.
        folder = self._folder
        made_folders += make_folders(folder)
        lock = lock_run(folder)
        study: Study | None = None
        try:
            with blaming_machine(f"nothing that had finished is lost: nas search run={folder}"):
                notices = self._begin(checked)
                study = self._open_study(checked)
                lost = former.keep_larger_tables(folder, len(study.records))
                notices = (*notices, *filter(None, [lost]))
                with checked.backend.resources as told:  # images that all workers share, for one
                    return self._search(study, checked, (*notices, *told))
        except Exception as error:
            # What the machine ended can be gone on with, once it was begun.
            is_empty = study is None or not (study.records or study.ladder)
            was_begun = study is not None and isinstance(error, MachineError)
            if is_empty and not was_begun and not checked.resumption.resumes:
                lock.release()
                former.remove_files(folder)
                remove_folders(made_folders)
                if isinstance(error, MachineError):  # nothing is there to go on with
                    raise MachineError(error.reason) from error
            raise
        finally:
            lock.release()

    @property
    def _folder(self) -> Path:
        assert self.config.run is not None
        return self.config.run

    def _check(self) -> _CheckedSearch:
        """Refuse what cannot be searched so; nothing is written.

        Raises:
            ValueError: the message starts with the key.
        """
        config = self.config
        check_members(config.space)
        placement = config.make_placement()
        resumption = inspect_folder(self._folder, config.composed.config)
        self._check_retry(resumption)

        # A space in which nothing meets the limits would be searched for nothing.
        doubt = ""
        if resumption.change or not resumption.resumes:
            limits, start = config.goals.rules.limits, config.prior.start
            doubt = check_limits(config.space, limits, seed=config.seed, also=start)
        if config.prior.inherit:
            check_inheritance(config.space, seed=config.seed)

        # Data, table and device: whether they are there, and the same as when the run was started.
        backend = config.execution.backend.open(config.make_parts(placement))
        resumption = compare_conditions(
            self._folder,
            resumption,
            conditions=backend.conditions,
            fingerprints=backend.fingerprints,
        )
        self._check_start(backend)
        earlier = read_earlier(
            config.prior.warm_start,
            config=config.composed.config,
            fingerprints=backend.fingerprints,
            conditions=backend.conditions,
            scale=config.scale,
        )
        return _CheckedSearch(
            resumption=resumption,
            placement=placement,
            backend=backend,
            earlier=earlier,
            notices=(*filter(None, [doubt]), *backend.notices, *earlier.notices),
        )

    def _check_retry(self, resumption: Resumption) -> None:
        """Refuse to evaluate failed rows again where the run has none to go on with."""
        if self.config.prior.retry and not resumption.resumes:
            raise ValueError(f"retry=failed: there is no run in run={self._folder} to go on with")
        if self.config.prior.retry and resumption.change:
            raise ValueError(
                f"retry=failed: {resumption.change}; evaluate the rows again with the settings "
                "that they were made under"
            )

    def _check_start(self, backend: OpenedBackend) -> None:
        """Refuse architectures to start with that have no results here, or another scale."""
        for spec in self.config.prior.start:
            lack = backend.lacks(spec)
            if spec.scale != self.config.scale:
                lack = f"is of scale {spec.scale}, here it is {self.config.scale}"
            if lack:
                raise ValueError(f"start: {spec.arch_id} {lack}")

    def _begin(self, checked: _CheckedSearch) -> tuple[str, ...]:
        """Make the run directory ready; return what the user is told at the start."""
        folder, backend, composed = self._folder, checked.backend, self.config.composed
        notices = list(checked.notices)
        if checked.resumption.change:
            notices.append(former.set_aside(folder))
        if self.config.prior.inherit:
            notices.append(INHERITED)
        if (journal := find_journal(folder)) and (cut := recover(journal)):
            notices.append(cut)
        if journal:
            check_config(folder, read_header(journal), composed.config)

        run_directory.create(
            folder,
            config=composed.config,
            choices=composed.choices,
            overrides=[typed for typed in composed.overrides if not typed.startswith("run=")],
            environment={
                **backend.environment,
                "seed": self.config.seed,
                "data": backend.fingerprints,
                "lr": dict(backend.lr_origins),
            },
        )
        return tuple(notices)

    def _open_study(self, checked: _CheckedSearch) -> Study:
        """Open the study in the run's journal, and settle what a kill left open."""
        config, backend = self.config, checked.backend
        rules = config.goals.rules
        longer_plan = LongerPlan(reason=backend.why_no_longer)
        if backend.longer is not None:
            has_parent = config.training.parent is not None
            longer_plan = LongerPlan(steps=backend.longer.steps, reason="", from_parent=has_parent)
        from_fronts = [spec for spec in checked.earlier.fronts if not backend.lacks(spec)]
        return Study(
            open_storage(self._folder / JOURNAL, config=hash_settings(config.composed.config)),
            StudyRules(
                objectives=config.goals.objectives,
                limits=rules.limits,
                challenge=rules.challenge,
                baseline=backend.baseline,
                ladder_sizes=backend.ladder_sizes,
                ladder_seeds=rules.ladder_seeds,
                num_probes=config.training.fidelity.probes,
                longer_plan=longer_plan,
                planned_trials=config.budget.trials or PLANNED_TRIALS,
            ),
            read_decisions(config.space),
            start=[*config.prior.start, *from_fronts],
            start_inherits=0 if config.prior.inherit else None,
        )

    def _search(
        self, study: Study, checked: _CheckedSearch, notices: tuple[str, ...]
    ) -> SearchResult:
        """Ask, run and tell; the run's files are rewritten as results come, and at the end."""
        config, backend = self.config, checked.backend
        if config.prior.retry:
            count = study.retry_failed()
            notices = (*notices, f"retry=failed: failed rows that are evaluated again: {count}")

        def list_parents() -> set[str]:
            """List the arch_ids whose weights stay: what is trained next may start from them."""
            return study.list_parents(backend.fidelities[-1]) if config.prior.inherit else set()

        shown = ShownRun(
            study,
            run_directory.Files(self._folder, self.render, needed=list_parents),
            name=self._folder.resolve().name,
            settings=shown_settings(config.composed.config),
            lr_origins=backend.lr_origins,
            notices=notices,
        )
        try:
            reason = self._run_controller(self._make_asker(study, checked), checked, shown)
        except (KeyboardInterrupt, ClosedOutputError, MachineError):
            # Ctrl-C, an output that nobody reads, or the machine: the files show what there is.
            shown.write(now=True)
            raise

        if emptiness := why_empty(study.state):
            shown.tell_at_start(emptiness)
            reason = f"{emptiness}; {reason}"
        shown.write(now=True)
        return SearchResult(
            folder=self._folder,
            state=shown.state,
            reason=reason,
            unwritten="; ".join(shown.files.notices),
        )

    def _make_asker(self, study: Study, checked: _CheckedSearch) -> Asker:
        config = self.config
        return Asker.over(
            study,
            config.space,
            config.sampler,
            goal=config.goals.goal,
            earlier=checked.earlier.results,
            fidelities=checked.backend.fidelities,
            least_tau=config.training.fidelity.least_tau,
            seed=config.seed,
            inherit=config.prior.inherit,
        )

    def _run_controller(self, asker: Asker, checked: _CheckedSearch, shown: ShownRun) -> str:
        """Start the engine and the screen, and search; return why the search ended, in words."""
        config, backend = self.config, checked.backend
        engine = backend.engine or config.execution.engine
        with (
            started(engine, backend.make_evaluator, checked.placement),
            GuardedScreen(self.open_screen, shown.state) as screen,
        ):

            def show(running: dict[int, str], seconds_left: float | None) -> None:
                screen.update(
                    shown.state,
                    running=running,
                    trials_wanted=config.budget.trials,
                    seconds_left=seconds_left,
                )
                if shown.files.stale:
                    shown.write()

            return Controller(
                asker,
                engine,
                config.budget,
                has_test=backend.has_test,
                longer=backend.longer,
                show=show,
                changed=shown.write,
                notify=shown.notify,
                clock=backend.clock,
            ).run()
