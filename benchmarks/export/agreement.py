"""How far are ONNX Runtime and .pt2 from PyTorch, on published networks and members of spaces?

Each network is made with fresh weights, its graph as `nas export` makes it, and run on images of
three sizes other than the one at which it was traced: odd, not square, tiny. Errors are in full
scale: 1, or the largest value of the output where that is greater. A network that scans its pixels
is refused by name, as the command refuses it.

    python benchmarks/export/agreement.py published/all
    python benchmarks/export/agreement.py --members 10 span spanv2
    python benchmarks/export/agreement.py --members 10            # published/all and every space
"""

import pkgutil
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import onnxruntime
import torch
import yaml
from torch import nn

from benchmarks.shared.arguments import make_parser
from nas.deploy.onnx_model import make_model
from nas.export.graphs import check_scans
from nas.export.torch_export import make_program
from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser
from search_spaces.published import names as published_names

SIZES = ((37, 53), (64, 40), (13, 11))
ALL = "published/all"
SPACES = Path(__file__).parents[2] / "conf" / "space"
HEAD = "| network | nodes | ONNX Runtime | .pt2 | seconds |"


def main() -> None:
    """Print a row a network, as it comes."""
    parser = make_parser(__doc__)
    parser.add_argument("names", nargs="*", help=f"{ALL}, published/NAME, or a space")
    parser.add_argument("--members", type=int, default=10, help="of each space")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    spaces = sorted(path.stem for path in SPACES.glob("*.yaml"))
    print(f"{HEAD}\n|{'---|' * HEAD.count(' | ')}---|")
    worst = [0.0]
    for name, spec in list_specs(options.names or [ALL, *spaces], options.members, options.seed):
        begun = time.process_time()
        torch.manual_seed(options.seed)
        try:
            nodes, *errors = compare(build(spec))
        except (ValueError, RuntimeError, AssertionError) as error:  # the others are still run
            print(f"| {name} | | {error} | | |", flush=True)
            continue
        worst.extend(errors)
        cells = " | ".join(f"{error:.1e}" for error in errors)
        print(f"| {name} | {nodes:.0f} | {cells} | {time.process_time() - begun:.0f} |", flush=True)
    print(f"\nlargest: {max(worst):.1e} of full scale")


def list_specs(names: list[str], members: int, seed: int) -> Iterator[tuple[str, ArchSpec]]:
    """Yield networks with their names: published ones, and random members of spaces."""
    for name in names:
        if name == ALL:
            yield from ((f"published/{found}", published(found)) for found in published_names())
        elif name.startswith("published/"):
            yield name, published(name.removeprefix("published/"))
        else:
            values = yaml.safe_load((SPACES / f"{name}.yaml").read_text(encoding="utf-8"))
            space = pkgutil.resolve_name(values.pop("_target_"))(**(values | {"scale": 4}))
            chooser = RandomChooser(random.Random(seed))
            for _ in range(members):
                spec = space.sample(chooser)
                yield f"{name}: {spec.arch_id}", spec


def compare(net: nn.Module) -> tuple[float, float, float]:
    """Return the number of ONNX nodes, and the largest errors of ONNX Runtime and of .pt2.

    Raises:
        ValueError: it scans its pixels, or has no graph.
    """
    check_scans(net)
    model = make_model(net)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    program = make_program(net).module()

    errors = {"onnx": 0.0, "pt2": 0.0}
    for size in SIZES:
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(sum(size)))
        with torch.no_grad():
            expected = net(image).numpy()
            outputs = {"pt2": program(image).numpy()}
        (outputs["onnx"],) = session.run(["output"], {"input": image.numpy()})
        for kind, output in outputs.items():
            if output.shape != expected.shape:
                raise ValueError(f"{kind} gives {output.shape}, not {expected.shape}")
            full_scale = max(1.0, np.abs(expected).max())
            errors[kind] = max(errors[kind], float(np.abs(output - expected).max() / full_scale))
    return len(model.graph.node), errors["onnx"], errors["pt2"]


if __name__ == "__main__":
    main()
