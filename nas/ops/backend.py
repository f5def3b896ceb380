"""Chooses a fused operator's implementation: a CUDA kernel, a Triton kernel or plain PyTorch."""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager

import torch

BACKENDS = ("cuda", "triton", "reference")  # the order in which `auto` asks
SETTINGS = ("auto", *BACKENDS)

Case = Hashable  # what an operator's kernels depend on, such as (channels, dtype); None: any
# Says why a backend cannot serve a case on a device; None: it can. A probe may run the kernel once,
# and what that raises is a reason too.
Probe = Callable[[torch.device, Case], str | None]


class BackendWarning(UserWarning):
    """A faster implementation is not used; each reason is told once."""


class BackendError(RuntimeError):
    """The backend that was asked for by name cannot serve."""


class Choice:
    """Picks the backend of one operator; each probe is asked once for a device and case.

    `auto` takes the first of BACKENDS that can serve, and always `reference` on the CPU. A backend
    that is set by name either serves or raises; an operator without it runs as under `auto`.

    Args:
        op: the operator's name, as in `torch.ops.nas`.
        probes: the operator's kernels, by backend; `reference` is always there.
    """

    def __init__(self, op: str, probes: Mapping[str, Probe]) -> None:
        self.op = op
        self.probes = dict(probes)
        self.picked: dict[tuple[torch.device, Case], str] = {}
        self.reasons: dict[tuple[str, torch.device, Case], str | None] = {}
        _CHOICES[op] = self

    def pick(self, device: torch.device, case: Case) -> str:
        """Return the name of the backend for tensors on a device.

        Raises:
            BackendError: the backend that is set by name cannot serve.
        """
        name = self.picked.get((device, case))
        return name if name is not None else self._decide_backend(device, case)

    def reason(self, backend: str, device: torch.device, case: Case) -> str | None:
        """Return why a backend cannot serve; None: it can."""
        if backend == "reference":
            return None
        key = (backend, device, case)
        if key not in self.reasons:
            self.reasons[key] = self._run_probe(backend, device, case)
        return self.reasons[key]

    def _run_probe(self, backend: str, device: torch.device, case: Case) -> str | None:
        if backend not in self.probes:
            return f"{self.op} has no {backend} kernel"
        if device.type != "cuda" and not (backend == "triton" and interpreting()):
            return f"it needs CUDA tensors, these are on {device.type}"

        # `auto` must not fail by a broken install, compiler or driver: all they raise is a reason.
        try:
            return self.probes[backend](device, case)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or ["no message"]
            return f"the kernel does not run ({type(error).__name__}: {lines[0]})"

    def _decide_backend(self, device: torch.device, case: Case) -> str:
        chosen = setting()
        if chosen in self.probes:
            name = chosen
            if reason := self.reason(name, device, case):
                raise BackendError(
                    f"{self.op}: backend {name!r} cannot serve: {reason}; use backend 'auto'"
                )
        elif chosen == "reference" or device.type != "cuda":
            name = "reference"
        else:
            name = self._pick_first(device, case)
        self.picked[device, case] = name
        return name

    def _pick_first(self, device: torch.device, case: Case) -> str:
        reasons: list[str] = []
        for name in BACKENDS:
            if name != "reference" and name not in self.probes:
                continue
            reason = self.reason(name, device, case)
            if reason is None:
                # Only now is known what runs in place of the faster ones.
                for text in reasons:
                    say_once(f"{text}; it runs as {name}")
                return name
            reasons.append(f"{self.op}: {name} is not used: {reason}")
        raise AssertionError("reference always serves")


_CHOICES: dict[str, Choice] = {}
_SETTING = ["auto"]
_SAID: set[str] = set()
GENERATION = [0]  # counts `renew`


def setting() -> str:
    """Return the process-wide setting: `auto`, `reference`, `triton` or `cuda`."""
    return _SETTING[0]


def use(name: str) -> None:
    """Set the backend of every operator in this process.

    An operator that it cannot serve raises at its first call.

    Raises:
        ValueError: there is no such backend; the message lists them.
    """
    if name not in SETTINGS:
        raise ValueError(f"backend {name!r} is not known; known: {', '.join(SETTINGS)}")
    _SETTING[0] = name
    for choice in _CHOICES.values():
        choice.picked.clear()
    renew()


def renew() -> None:
    """Invalidate every prepared launch: backends or tilings have changed."""
    GENERATION[0] += 1


@contextmanager
def using(name: str) -> Iterator[None]:
    """Use a backend inside a `with` block; process-wide, like `use`.

    Example:
        >>> from nas.ops.backend import setting, using
        >>> with using("reference"):
        ...     setting()
        'reference'
    """
    before = setting()
    use(name)
    try:
        yield
    finally:
        use(before)


def why_not(
    backend: str, op: str, *, device: torch.device | None = None, case: Case = None
) -> str | None:
    """Return why a backend does not serve an operator; None: it does.

    Args:
        backend: `reference`, `triton` or `cuda`.
        op: the operator's name, such as `conv_act` or `nas::conv_act`.
        device: by default the current CUDA device, or the CPU where there is none.
        case: what the operator's kernels depend on, such as (channels, dtype); by default any.
    Raises:
        ValueError: the backend or the operator is not known; the message lists the known ones.
    Example:
        >>> import torch
        >>> why_not("cuda", "conv_act", device=torch.device("cpu"))
        'conv_act has no cuda kernel'
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not known; known: {', '.join(BACKENDS)}")
    op = op.removeprefix("nas::")

    # An operator is known once its package is loaded.
    for room in ("conv_act", "span_attention"):
        importlib.import_module(f"nas.ops.{room}")
    if op not in _CHOICES:
        raise ValueError(f"operator {op!r} is not known; known: {', '.join(sorted(_CHOICES))}")
    if device is None:
        on_gpu = torch.cuda.is_available()
        device = (
            torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        )
    return _CHOICES[op].reason(backend, device, case)


def interpreting() -> bool:
    """Return whether Triton kernels run in its interpreter, on CPU tensors too."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def no_triton(device: torch.device) -> str | None:
    """Return why no Triton kernel can run on a device; None: one can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (pip install 'esr-nas[triton]')"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        return f"Triton kernels need compute capability 8.0, {name} has less"
    return None


def say_once(text: str) -> None:
    """Warn that something faster is not used; once a text and process."""
    if text not in _SAID:
        _SAID.add(text)
        warnings.warn(text, BackendWarning, stacklevel=2)
