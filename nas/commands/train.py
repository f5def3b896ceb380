"""Train a network by a recipe of stages, to weights that can be used.

A run of training has a directory of its own. It goes on where it was stopped, to the same bits:
Ctrl-C saves. PSNR is validated on data.val on the way; data.test is read once, at the end. The
weights of the best validation of the last stage are kept in weights/ of the run.

Examples:
    nas train arch=published/span recipe=short hours=1 data=folder data.train=/data/BSDS200 data.val=/data/Set14
    nas train arch=runs/mine:best_score recipe=default data=[div2k,lsdir] data.val=/data/valid
    nas train arch=mine.yaml recipe=spanv2 recipe.smoke=true
    nas train run=runs/my_training
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from nas.cli import schema
from nas.cli.composition import Stored
from nas.cli.invocation import Invocation, UsageError
from nas.cli.overrides import parse
from nas.commands.architectures import kept_weights, resolve_arch, split_pick
from nas.data.config import DataConfig
from nas.data.patches import PatchStore
from nas.data.roles import Roles, open_roles
from nas.measure.device import fingerprint, pick_device
from nas.score import Challenge
from nas.search.store import former, run_directory
from nas.search.store.journal import RunLock
from nas.search.store.settings import hash_settings
from nas.system.console import open_console, print_lines
from nas.system.faults import MachineError, blaming_machine
from nas.train.distill.teachers import load_teacher
from nas.train.recipe.config import Recipe, check_recipe
from nas.train.run.session import TrainingConfig, TrainingSession
from search_spaces.spec import ArchSpec

RUNS = Path("runs")
Init = Literal["scratch", "weights", "proxy"]
