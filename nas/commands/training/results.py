"""What a training came to: its figures, beside its trial too, and how a stopped one goes on."""

import shlex
from dataclasses import replace

from nas.analysis.training import Trained
from nas.commands.architectures import split_pick
from nas.commands.training.folder import TrainingFolder
from nas.commands.training.request import TrainingRequest
from nas.data.roles import Roles
from nas.measure.quality import mean_db, per_image
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.trained import add_trained
from nas.system.faults import describe_os_error
from nas.train.run.config import Outcome
from nas.train.weights import weights_path


def keep_result(
    request: TrainingRequest, folder: TrainingFolder, outcome: Outcome, roles: Roles
) -> Trained:
    """Read the test set, once, and keep what the training came to."""
    test = roles.get("test")
    test_db = None
    if test is not None:
        test_db = mean_db(per_image(outcome.net, test, request.device))
    result = Trained(
        arch_id=request.spec.arch_id,
        run=str(folder.path),
        recipe=request.recipe_name,
        steps=outcome.steps,
        seconds=outcome.seconds,
        psnr_db=outcome.psnr_db,
        test_psnr_db=test_db,
        val=roles.fingerprints["val"],
    )
    folder.keep_result(result)
    return result


def keep_beside_trial(
    request: TrainingRequest, folder: TrainingFolder, result: Trained
) -> list[str]:
    """Keep weights and figures beside the trial that the architecture is a pick of.

    Returns:
        A line on it; none where the architecture is no pick, or nothing was trained in earnest.
    """
    run_pick = split_pick(request.arch)
    if run_pick is None or request.recipe.smoke:
        return []
    search = run_pick[0]
    try:
        stored = run_directory.read_environment(search).get("data", {})
        is_same = stored.get("val") == result.val
        weights = weights_path(folder.path, request.spec)
        better = add_trained(search, replace(result, on_same_val=is_same), request.spec, weights)
    except (OSError, ValueError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        going_on = f"nas train {quote_run(folder)}"
        return [f"not kept beside the trial of {search} ({reason}); {going_on} tries again"]

    if better is not None:
        return [
            f"Beside its trial stays an earlier training, which came to {better.psnr_db:.3f} dB: "
            f"{better.run}"
        ]
    shown = "" if is_same else "; its val images are others than the search's, whose tables "
    shown += "" if is_same else "therefore show no trained PSNR"
    place = shlex.quote(f"run={search}")
    return [f"Kept beside its trial: nas report {place} and nas export {place} use it{shown}."]


def describe_result(folder: TrainingFolder, result: Trained) -> list[str]:
    weights = folder.path / "weights" / f"{result.arch_id}.safetensors"
    test = "" if result.test_psnr_db is None else f", {result.test_psnr_db:.3f} dB on test"
    return [
        f"PSNR {result.psnr_db:.3f} dB on val{test}, after {result.steps:,} steps.",
        f"Weights: {weights}",
        f"Page: {folder.path / 'report.html'}",
    ]


def describe_kept(folder: TrainingFolder) -> str:
    """Say what is kept of a training that diverged, and the way out."""
    kept = f"; the last good checkpoint is kept in {folder.path}" if folder.has_begun else ""
    return f"{kept}; lower the rates of the stage's optimizer, or set its clip"


def describe_stop(folder: TrainingFolder) -> str:
    """Say how to go on with a training that was stopped."""
    if not folder.has_begun:
        return "Stopped before the first step; nothing is kept."
    kept = sorted((folder.path / "weights").glob("*.safetensors"))
    best = f"; the best weights so far: {kept[0]}" if kept else ""
    return f"Stopped and saved. Go on with: nas train {quote_run(folder)}{best}"


def quote_run(folder: TrainingFolder) -> str:
    """Return run= as a shell takes it; of a front's member that of the front."""
    return shlex.quote(f"run={folder.top or folder.path}")
