"""The format ntire: what a team hands in to the NTIRE challenge on efficient super-resolution."""

import ast
import io
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from nas.export.bundle import Bundle
from nas.export.ntire.handing_in import write_block, write_factsheet
from nas.export.ntire.names import Names, find_published, propose_name
from nas.export.ntire.source import print_source
from nas.export.ntire.sr_images import list_images, write_zip
from nas.export.ntire.torch_names import find_undefined, find_unknown
from nas.measure.cost import measure_cost
from search_spaces.published import entry, headline

PYTHON = (3, 9)  # of the challenge's environment
DOCSTRING_WIDTH = 93  # of 100, in a class and behind its quotes
READER = "nas.export.ntire.read"


class NtireExporter:
    """Writes models/teamNN_Name.py, model_zoo/teamNN_Name.pth, and what is handed in with them.

    Args:
        team: number of the team, 0 to 99.
        name: of the network's class; None: the published network's, or one of its identity.
        warm: whether the block of select_model runs the network once on each common size.
        lr: folder of LR images whose SR images are written as a zip; None: no zip.
    """

    takes_residuals = False
    tolerance = 0.0
    clamps = False

    def __init__(self, *, team: int, name: str | None, warm: bool, lr: str | None) -> None:
        self.team, self.name, self.warm = team, name, warm
        self.lr = None if lr is None else Path(lr).expanduser()
        self._printed: tuple[Bundle, str] | None = None  # what `check` printed, `write` writes
        self._make_names(name or "Network")  # a name that will not do is refused at the door

    def check(self, bundle: Bundle) -> None:
        """Refuse a network that cannot be printed for Python 3.9 and PyTorch 1.13.

        Raises:
            ValueError: a layer cannot be printed, or its output is drawn by chance.
        """
        if self.lr is not None:
            list_images(self.lr, bundle.spec.scale)
        for name, module in bundle.net.named_modules():
            if getattr(module, "noise", False):
                raise ValueError(
                    f"{name} ({type(module).__name__}) draws its output by chance (noise: true), "
                    "so that no file equals it; set noise: false, the most probable class"
                )
        self.print_model(bundle)

    def print_model(self, bundle: Bundle) -> str:
        """Return the Python file of a network.

        Raises:
            ValueError: as `check`.
        """
        if self._printed is not None and self._printed[0] is bundle:
            return self._printed[1]
        names = self._find_names(bundle)
        title, docstring = _describe(bundle, names)
        try:
            source = print_source(bundle.net, names.network, title, docstring)
            _check_source(source)
        except ValueError as error:
            raise ValueError(f"{error}; use formats=[onnx] or [torch_export]") from error
        self._printed = (bundle, source)
        return source

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the files; return their names."""
        names = self._find_names(bundle)
        for sub in ("models", "model_zoo"):
            (folder / sub).mkdir(exist_ok=True)
        (folder / names.model).write_text(self.print_model(bundle), encoding="utf-8")

        # A plain dict of tensors: PyTorch 1.13 reads it, also where nothing may run by reading.
        state = {key: value.detach().cpu() for key, value in bundle.net.state_dict().items()}
        packed = io.BytesIO()
        torch.save(state, packed)
        (folder / names.weights).write_bytes(packed.getvalue())

        texts = {
            "select_model.txt": write_block(names, warm=self.warm),
            "factsheet.md": write_factsheet(names, measure_cost(bundle.spec), bundle.provenance),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

        written = [names.model, names.weights, *texts]
        if self.lr is not None:
            written.append(f"{names.stem}_SR.zip")
            images = list_images(self.lr, bundle.spec.scale)
            write_zip(bundle.net, bundle.spec.scale, images, folder / written[-1])
        return written

    def reader(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the command of a process that loads the network as the challenge does."""
        paths = [str(folder / name) for name in names[:2]]
        return [sys.executable, "-m", READER, *paths, str(torch.get_num_threads())]

    def _find_names(self, bundle: Bundle) -> Names:
        return self._make_names(self.name or propose_name(bundle.spec))

    def _make_names(self, network: str) -> Names:
        return Names(team=self.team, network=network)


def _check_source(source: str) -> None:
    """Check that the challenge's Python and PyTorch can run a file.

    Raises:
        ValueError: they cannot; the message names the line or the name.
    """
    try:
        ast.parse(source, feature_version=PYTHON)
    except SyntaxError as error:
        text = (error.text or "").strip()
        raise ValueError(f"line {error.lineno}, {text!r}, is no Python 3.9") from error
    if undefined := find_undefined(source):
        raise ValueError(f"the printed file lacks {', '.join(undefined)}, which a layer reads")
    if unknown := find_unknown(source):
        raise ValueError(f"PyTorch 1.13 has no {', '.join(unknown)}, which a layer calls")


def _describe(bundle: Bundle, names: Names) -> tuple[str, str]:
    """Return the first line of the file, and the docstring of the network's class."""
    scale = bundle.spec.scale
    title = f"{names.network}, a network for image super-resolution by a factor of {scale}."
    shapes = f"(N, 3, H, W) in [0, 1] -> (N, 3, {scale}*H, {scale}*W), not clamped."
    known = find_published(bundle.spec)
    if known is None:
        kinds = Counter(block.kind for block in bundle.spec.blocks)
        blocks = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        text = f"A network for super-resolution; its body: {blocks}."
        if len(text) > DOCSTRING_WIDTH:
            text = f"A network for super-resolution; its body: {kinds.total()} blocks."
        return title, f"{text}\n\n{shapes}"
    source = textwrap.fill(f"Source: {entry(known)['paper']}.", DOCSTRING_WIDTH)
    return title, f"{textwrap.fill(headline(known), DOCSTRING_WIDTH)}\n\n{shapes}\n\n{source}"
