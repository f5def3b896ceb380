"""Whether two PSNR were read on the same images: the PSNR of the fixed base says so."""

from nas.system.faults import MachineError

# Devices and versions of torch round some pixels of the base otherwise; another image moves it more.
TOLERANCE_DB = 1e-3


def is_same_base(base_db: float, known_db: float) -> bool:
    """Return whether two readings of the fixed base differ by no more than rounding."""
    return abs(base_db - known_db) <= TOLERANCE_DB  # never for NaN


def refuse_other_base(base_db: float, known_db: float) -> None:
    """Refuse a reading whose images are not those of the readings before.

    Args:
        base_db: PSNR of the fixed base beside the reading.
        known_db: what it was before.
    Raises:
        MachineError: they differ by more than rounding.
    """
    if not is_same_base(base_db, known_db):
        raise MachineError(
            f"data.val: the images changed under the search: bicubic upsampling alone reads "
            f"{base_db:.4f} dB on them now, it was {known_db:.4f} dB; nothing of that is kept; "
            "bring the earlier images back"
        )
