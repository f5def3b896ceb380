"""The state of a device around a reading: clocks, temperature, throttling, other processes."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch

from nas.measure.device import cpu_clocks_mhz, device_id, output

# nvidia-smi's fields, by the names that records use.
GPU_FIELDS = {
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
}
# A bit mask in hexadecimal; new drivers and old ones call it differently.
THROTTLE_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
UNKNOWN = "unknown"


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return the state of a device at this moment, as JSON holds it; unknown values are None."""
    return _query_gpu_state(device) if device.type == "cuda" else _read_cpu_state()


def neighbours(device: torch.device, own: set[int]) -> list[int] | str:
    """Return the processes that compute on a GPU and do not make way for a reading.

    On a CPU other processes are the rule: `surroundings` tells their load, and none are listed.

    Args:
        own: processes that make way for a reading.
    Returns:
        Process numbers, or UNKNOWN where they cannot be known.
    """
    if device.type != "cuda":
        return []
    query = ["--query-compute-apps=pid", "--format=csv,noheader", _select_gpu(device)]
    listing = output(["nvidia-smi", *query])
    running = {int(line) for line in (listing or "").split() if line.isdigit()}
    # In a container the driver may list processes by numbers that mean nothing inside. This process
    # is on the GPU itself, so a list without it cannot be trusted.
    return sorted(running - own) if os.getpid() in running else UNKNOWN


def _query_gpu_state(device: torch.device) -> dict[str, Any]:
    # A driver refuses a whole query for one field that it does not know, so each name for the
    # throttle reasons needs a query of its own.
    for reasons in THROTTLE_REASONS:
        fields = GPU_FIELDS | {"throttle_reasons": reasons}
        query = [f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader,nounits"]
        answer = output(["nvidia-smi", *query, _select_gpu(device)])
        if answer is not None:
            values = next(csv.reader(io.StringIO(answer), skipinitialspace=True), [])
            return dict(zip(fields, map(_read_value, values), strict=False))
    return dict.fromkeys([*GPU_FIELDS, "throttle_reasons"])


def _read_cpu_state() -> dict[str, Any]:
    """Return clocks of the slowest and fastest core, the load, and the wait for a core."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"clocks_mhz": cpu_clocks_mhz(), "load": load, "waiting_share": _read_waiting_share()}


def _read_waiting_share() -> float | None:
    """Return the share of the last 10 seconds in which a process waited for a core."""
    try:
        first = Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
    except OSError:  # not Linux, or not told
        return None
    return float(first.partition("avg10=")[2].split()[0]) / 100


def _select_gpu(device: torch.device) -> str:
    return f"--id={device_id(device)}"


def _read_value(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        # "[N/A]" and the like stand for what a GPU does not tell; a bit mask stays text.
        return None if text.startswith("[") else text
