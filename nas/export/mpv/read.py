"""Run a user shader on arrays: python -m nas.export.mpv.read SHADER INPUTS.npz OUTPUTS.npz

By ffmpeg's filter libplacebo, on whatever Vulkan device it finds first: a GPU, or Mesa's lavapipe.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint16]

LEVELS = 65535  # of a channel of 16 bits
TIMEOUT_S = 1500
SCALE = re.compile(r"//!WIDTH HOOKED\.w (\d) \*\n//!HEIGHT HOOKED\.h \1 \*\n//!WHEN")


class RenderError(Exception):
    """ffmpeg is not there, or renders nothing."""


def main(path: str, inputs: str, outputs: str) -> None:
    """Upscale each array of a file, (1, 3, H, W) in [0, 1]; write the results by the same names."""
    shader = Path(path)
    if not shader.is_file():
        sys.exit(f"there is no file {path}")
    # The last pass says how much larger the image becomes.
    factors = SCALE.findall(shader.read_text(encoding="utf-8"))
    if not factors:
        sys.exit(f"{path} has no pass that makes an image")
    scale = int(factors[-1])

    with np.load(inputs) as arrays:
        images = {name: arrays[name] for name in arrays.files}

    # Images of one size are the frames of one video, as compiling takes longer than running.
    results: dict[str, npt.NDArray[np.float32]] = {}
    for size in sorted({image.shape for image in images.values()}):
        names = [name for name, image in images.items() if image.shape == size]
        frames = np.concatenate([images[name] for name in names])
        try:
            large = render(shader, (frames * LEVELS).round().astype(np.uint16), scale)
        except RenderError as error:
            sys.exit(str(error))
        for name, frame in zip(names, large, strict=True):
            results[name] = (frame[None] / LEVELS).astype(np.float32)
    np.savez(outputs, **results)  # type: ignore[arg-type]


def render(shader: Path | None, frames: Frames, scale: int) -> Frames:
    """Return frames (N, 3, H, W) as a shader renders them, (N, 3, scale H, scale W).

    Args:
        shader: None: libplacebo's own scaler.
    Raises:
        RenderError: ffmpeg is not there, or fails.
    """
    count, _, height, width = frames.shape
    opaque = np.full((count, 1, height, width), LEVELS, np.uint16)
    pixels = np.ascontiguousarray(np.concatenate([frames, opaque], 1).transpose(0, 2, 3, 1))
    options = [f"w={scale * width}", f"h={scale * height}", "dithering=none", "format=rgba64le"]

    with tempfile.TemporaryDirectory() as folder:
        if shader is not None:
            # A path in a filter's text would have to be quoted twice over.
            copy = Path(folder) / "shader.glsl"
            copy.write_bytes(shader.read_bytes())
            options.append("custom_shader_path=shader.glsl")
        chain = f"hwupload,libplacebo={':'.join(options)},hwdownload,format=rgba64le"
        raw = ["-f", "rawvideo", "-pix_fmt", "rgba64le"]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-init_hw_device", "vulkan"]
        command += [*raw, "-s", f"{width}x{height}", "-i", "-", "-vf", chain, *raw, "-"]
        try:
            done = subprocess.run(
                command,
                input=pixels.tobytes(),
                capture_output=True,
                check=False,
                cwd=folder,
                timeout=TIMEOUT_S,
            )
        except FileNotFoundError:
            raise RenderError("ffmpeg is not installed") from None
        except subprocess.TimeoutExpired:
            raise RenderError(f"ffmpeg did not end within {TIMEOUT_S} s") from None

    expected = count * scale * height * scale * width * 4
    large = np.frombuffer(done.stdout[: len(done.stdout) // 2 * 2], np.uint16)
    if done.returncode != 0 or large.size != expected:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RenderError(f"ffmpeg ended with {done.returncode}: {' '.join(last)}")
    shaped = large.reshape(count, scale * height, scale * width, 4)
    return np.ascontiguousarray(shaped[..., :3].transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main(*sys.argv[1:])
