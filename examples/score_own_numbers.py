"""The challenge's score of numbers of your own."""

from nas.score import challenge_score

# SPAN as published by the challenge: its ratios are 1, its score is e^2
BASELINE_MS, BASELINE_GFLOPS, BASELINE_MPARAMS = 7.74, 9.83, 0.151

NETWORKS = {  # milliseconds on the same device, GFLOPs at 256x256, millions of parameters
    "SPAN": (7.74, 9.83, 0.151),
    "twice as fast": (3.87, 9.83, 0.151),
    "half of everything": (3.87, 4.915, 0.0755),
}


def main() -> None:
    """Print each network's score, the best first."""
    scores = {
        name: challenge_score(
            ms / BASELINE_MS, gflops / BASELINE_GFLOPS, mparams / BASELINE_MPARAMS
        )
        for name, (ms, gflops, mparams) in NETWORKS.items()
    }
    for name, score in sorted(scores.items(), key=lambda item: item[1]):
        print(f"{score:6.3f}  {name}")


if __name__ == "__main__":
    main()
