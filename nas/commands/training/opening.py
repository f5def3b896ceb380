"""What a training needs beside its settings: it is opened and checked before the folder is made."""

import hashlib
from dataclasses import dataclass

from torch import nn

from nas.commands.training.folder import StoredArch, TrainingFolder
from nas.commands.training.request import TrainingRequest
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.data.sets import ImageSet
from nas.measure.device import fingerprint
from nas.search.store.run_folder.settings import hash_settings
from nas.system.torchrun import read_rank
from nas.train.distill.teachers import load_teacher
from nas.train.run.beginning import Beginning, begin_fresh, begin_from
from nas.train.run.config import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedTraining:
    """What a training needs beside its settings: images, patches, teacher, first weights."""

    roles: Roles
    patches: PatchStore
    teacher: nn.Module | None
    beginning: Beginning
    is_whole: bool

    @property
    def sets(self) -> dict[str, ImageSet]:
        return {"train": self.roles.need("train"), "val": self.roles.need("val")}


def open_training(request: TrainingRequest, folder: TrainingFolder) -> OpenedTraining:
    """Open images, teacher and weights.

    Raises:
        ValueError: one cannot be had.
    """
    scale = request.spec.scale
    roles = open_roles(request.data, scale=scale, challenge=request.challenge.name)
    roles.need("val")
    teacher = None
    if request.teacher and request.recipe.needs_teacher:
        teacher = load_teacher(
            request.teacher, spec=request.teacher_spec, scale=scale, device=request.device
        )
    patches = PatchStore(
        roles.need("train"),
        seed=request.seed,
        memory_mib=request.data.memory_mib,
        cache=request.data.cache,
        progress=read_rank() == 0,
    )

    # A checkpoint has weights of its own; whether they are whole the first session found.
    if request.source is None or folder.has_begun:
        beginning = begin_fresh(request.spec, patches, seed=request.seed)
    else:
        beginning = begin_from(request.source, request.spec, patches, seed=request.seed)
    is_whole = beginning.is_whole
    if folder.resumes:
        is_whole = folder.read_arch().starts_whole
    return OpenedTraining(
        roles=roles, patches=patches, teacher=teacher, beginning=beginning, is_whole=is_whole
    )


def write_start(
    request: TrainingRequest, folder: TrainingFolder, opened: OpenedTraining, notices: list[str]
) -> None:
    """Make the folder, and write what the training is."""
    folder.open(
        config=request.composed.config,
        choices=request.composed.choices,
        overrides=request.composed.overrides,
        environment={
            **fingerprint(request.device),
            "seed": request.seed,
            "data": opened.roles.fingerprints,
            "lr": opened.roles.lr_origins,
            "notices": notices,
        },
        arch=StoredArch(
            spec=request.spec.to_dict(),
            arch=request.arch,
            starts_whole=opened.is_whole,
            teacher=digest_teacher(request),
        ),
    )


def make_config(
    request: TrainingRequest, folder: TrainingFolder, opened: OpenedTraining
) -> TrainingConfig:
    return TrainingConfig(
        folder=folder.path,
        spec=request.spec,
        recipe=request.recipe.without_base() if opened.is_whole else request.recipe,
        sets=opened.sets,
        patches=opened.patches,
        device=request.device,
        seed=request.seed,
        validations=request.validations,
        hours=request.hours,
        settings=hash_settings(request.composed.config),
        speed=request.speed,
    )


def list_notices(request: TrainingRequest, opened: OpenedTraining) -> list[str]:
    """Say what the user should know of data, weights and recipe before the first step."""
    roles, recipe = opened.roles, request.recipe
    notices = [*roles.notices, roles.lr_notice, *opened.patches.notices, *opened.beginning.notes]
    notices += recipe.describe_sources({pair.source for pair in roles.need("train").pairs})
    notices += list(dict.fromkeys(stage.lacks for stage in recipe.stages.values() if stage.lacks))
    if opened.is_whole and any(stage.base != "none" for stage in recipe.stages.values()):
        notices.append(
            "weights: they are those of a whole network, so every stage trains whole images"
        )
    if request.teacher and not recipe.needs_teacher:
        notices.append("teacher: no stage of the recipe distils; it is not used")
    return notices


def digest_teacher(request: TrainingRequest) -> str:
    """Return the digest of the teacher's file; empty where there is none, or it is not used."""
    if request.teacher is None or not request.recipe.needs_teacher:
        return ""
    with request.teacher.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
