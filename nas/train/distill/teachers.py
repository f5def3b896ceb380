"""Teachers: networks with weights, ONNX files, and whatever else spandrel loads, all frozen."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.system.missing_torchvision import import_spandrel
from nas.train.weights import find_spec, load_upscaler
from search_spaces.checkpoints.official import read_state
from search_spaces.spec import ArchSpec

TRIAL_SIDE = 32  # of the LR image on which a teacher is tried once, in pixels


def load_teacher(
    path: Path, *, spec: ArchSpec | None, scale: int, device: torch.device
) -> nn.Module:
    """Return an upscaler to learn from, in evaluation mode, whose weights never change.

    A `Network` of this project can be asked for its features; any other teacher gives images alone.

    Args:
        path: weights of `spec`; a .onnx file; or weights of a network that is known here by their
            names and shapes, or to spandrel.
        spec: the architecture; None: the file tells it.
        scale: of the network that learns.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read without running code, is of another scale, nothing here knows
            it, or what would read it is not installed.
    """
    try:
        teacher = _open_teacher(path, spec, scale, device)
    except (FileNotFoundError, ValueError) as error:
        # The parts that read files name the key of a network's own weights.
        text = str(error).removeprefix("weights: ").removeprefix("teacher: ")
        raise type(error)(f"teacher: {text}") from None

    teacher = teacher.to(device).eval()
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    _try_teacher(teacher, path, scale, device)
    return teacher


class OnnxTeacher(nn.Module):
    """An ONNX model as a module, (N, 3, H, W) -> (N, 3, scale H, scale W), without gradients.

    It runs on the CPU, or by CUDA where ONNX Runtime has it and the device is CUDA's.

    Raises:
        ValueError: ONNX Runtime is not installed, or the file is no model that it runs.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        self._path = path
        if importlib.util.find_spec("onnxruntime") is None:
            raise ValueError(
                f"{path} needs onnxruntime, not installed here; pip install 'esr-nas[onnx]'"
            )
        runtime: Any = importlib.import_module("onnxruntime")  # an extra: not there for everyone

        providers = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = runtime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise ValueError(
                f"{path} is no model that ONNX Runtime reads: {_first_line(error)}"
            ) from None
        self._input = self._session.get_inputs()[0]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        # Many exports fix the number of images at one.
        batches = torch.split(x, 1) if self._input.shape[:1] == [1] else (x,)
        try:
            images = [
                self._session.run(None, {self._input.name: part.cpu().numpy()})[0]
                for part in batches
            ]
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            height, width = x.shape[-2:]
            raise ValueError(
                f"teacher: {self._path} does not upscale an image of {width}x{height} pixels: "
                f"{_first_line(error)}"
            ) from None
        return torch.cat([torch.from_numpy(image) for image in images]).to(x.device)


class SpandrelTeacher(nn.Module):
    """A network that spandrel recognised; its images are clamped to [0, 1].

    Args:
        descriptor: spandrel's ImageModelDescriptor, which pads images to sizes that it takes.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.model: nn.Module = descriptor.model
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        # A copy: no loss may keep what was made in spandrel's inference mode.
        image: Tensor = self._descriptor(x)
        return image.clone()


def _open_teacher(path: Path, spec: ArchSpec | None, scale: int, device: torch.device) -> nn.Module:
    """Open a file by what reads it; scales are compared where they are known before."""
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        return OnnxTeacher(path, device)

    # A network of ours is preferred where both know it: it has layers.
    if spec is None:
        state = read_state(path)
        try:
            spec = find_spec(path)
        except ValueError:
            return _recognise_foreign(path, state, scale)
    _check_scale(path, spec.scale, scale)
    return load_upscaler(spec, path)


def _recognise_foreign(path: Path, state: dict[str, Tensor], scale: int) -> SpandrelTeacher:
    """Return the network that spandrel knows by its weights, which were read as data alone.

    Raises:
        ValueError: it knows none, one of another scale or colours, or is not installed.
    """
    if importlib.util.find_spec("spandrel") is None:
        raise ValueError(
            f"{path} holds no network that is known here; spandrel may know it: "
            "pip install 'esr-nas[spandrel]'"
        )
    spandrel = import_spandrel()
    try:
        loader = spandrel.ModelLoader(device="cpu")
        descriptor = loader.load_from_state_dict(spandrel.canonicalize_state_dict(state))
    except spandrel.UnsupportedModelError:
        raise ValueError(f"{path} holds no network that is known here or to spandrel") from None
    except (ValueError, RuntimeError, KeyError, AssertionError) as error:
        raise ValueError(f"{path}: spandrel cannot load it: {_first_line(error)}") from None

    name = descriptor.architecture.name
    _check_scale(path, descriptor.scale, scale)
    colours = (descriptor.input_channels, descriptor.output_channels)
    if colours != (3, 3) or not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ValueError(f"{path} is a {name} that does not make an RGB image of an RGB image")
    return SpandrelTeacher(descriptor)


@torch.no_grad()
def _try_teacher(teacher: nn.Module, path: Path, scale: int, device: torch.device) -> None:
    """Upscale one small image, so that what does not fit is said before a training begins.

    Raises:
        ValueError: the teacher cannot, or gives an image of another size, or no numbers.
    """
    x = torch.rand(1, 3, TRIAL_SIDE, TRIAL_SIDE, generator=torch.Generator().manual_seed(0))
    try:
        image = teacher(x.to(device))
    except Exception as error:  # whatever a foreign network stumbles over
        raise ValueError(
            f"teacher: {path} does not upscale an RGB image of {TRIAL_SIDE}x{TRIAL_SIDE} pixels: "
            f"{_first_line(error)}"
        ) from None

    if image.shape != (1, 3, scale * TRIAL_SIDE, scale * TRIAL_SIDE):
        raise ValueError(
            f"teacher: {path} makes {tuple(image.shape)} of an image of {tuple(x.shape)}; a "
            f"teacher for x{scale} has to make an RGB image {scale} times as large"
        )
    if not image.isfinite().all():
        raise ValueError(f"teacher: {path} gives what is no number")


def _check_scale(path: Path, scale: int, wanted: int) -> None:
    if scale != wanted:
        raise ValueError(
            f"{path} is of x{scale}, the network that learns is of x{wanted}; give a teacher of "
            f"x{wanted}"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
