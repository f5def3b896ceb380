"""The spaces of conf/space, made without Hydra."""

import pkgutil
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "conf" / "space"
SPACES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def make_space(name, **changes):
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    made = pkgutil.resolve_name(values.pop("_target_"))
    return made(**(values | {"scale": 4} | changes))
