"""What a device was doing just before and after a reading: clocks, temperature, throttling, neighbours."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch

from nas.measure.device import cpu_clocks_mhz, device_id, output

# Short names for what nvidia-smi is asked; throttle reasons are a bit mask in hexadecimal.
GPU_FIELDS = {
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
}
THROTTLE_REASONS = (
    "clocks_event_reasons.active",
    "clocks_throttle_reasons.active",
)  # of new drivers, of old
UNKNOWN = "unknown"


def surroundings(device: torch.device) -> dict[str, Any]:
    """The state of a device at this moment, as JSON holds it; None where it cannot be known."""
    return _gpu(device) if device.type == "cuda" else _cpu()


def neighbours(device: torch.device, own: set[int]) -> list[int] | str:
    """Processes that compute on a GPU and are none of ours; none on a CPU, where their load is told.

    In a container the driver may list processes by numbers that mean nothing inside: where this process is
    not among them, nothing can be said.

    Args:
        own: processes that make way for a reading.
    Returns:
        Process numbers, or UNKNOWN where they cannot be known.
    """
    if device.type != "cuda":
        return []
    found = output(
        ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader", _select(device)]
    )
    running = {int(line) for line in (found or "").split() if line.isdigit()}
    return sorted(running - own) if os.getpid() in running else UNKNOWN


def _gpu(device: torch.device) -> dict[str, Any]:
    for reasons in THROTTLE_REASONS:
        fields = GPU_FIELDS | {"throttle_reasons": reasons}
        query = f"--query-gpu={','.join(fields.values())}"
        answer = output(["nvidia-smi", query, "--format=csv,noheader,nounits", _select(device)])
        if (
            answer is not None
        ):  # a driver refuses the whole of a query for one field that it does not know
            values = next(csv.reader(io.StringIO(answer), skipinitialspace=True), [])
            return dict(zip(fields, map(_number, values), strict=False))
    return dict.fromkeys([*GPU_FIELDS, "throttle_reasons"])


def _cpu() -> dict[str, Any]:
    """Clocks of the slowest and the fastest core, processes that want to run, and the wait for a core."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"clocks_mhz": cpu_clocks_mhz(), "load": load, "waiting_share": _waiting_share()}


def _waiting_share() -> float | None:
    """Share of the last 10 seconds in which some process waited for a core."""
    try:
        first = Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
    except OSError:  # not Linux, or not told
        return None
    return float(first.partition("avg10=")[2].split()[0]) / 100


def _select(device: torch.device) -> str:
    return f"--id={device_id(device)}"


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return None if text.startswith("[") else text  # [N/A]
