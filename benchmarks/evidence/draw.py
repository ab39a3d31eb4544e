"""Draw a comparison of published predictions: the pictures of docs/results.

python benchmarks/evidence/draw.py benchmarks/evidence/predictions/busi.tar.xz PICTURE.png
    --arms random,mse,texture_prediction --ways linear,knn,finetune
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recompute import compare_tables, read_tables, unpacked

from glcm_mae.report.comparison import draw_comparison


def main() -> None:
    """Compare the arms in each way of judging, and draw them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--arms", required=True, help="names, by commas, as they are drawn")
    parser.add_argument("--ways", default="linear,knn", help="ways of judging, by commas")
    parser.add_argument("--seeds", default="0,1,2", help="numbers, by commas")
    parser.add_argument("--reference", default="mse", help="an arm or a baseline")
    parser.add_argument("--positive", help="the class whose sensitivity is meant")
    parser.add_argument("--n_resamples", type=int, default=2000)
    arguments = parser.parse_args()
    seeds = [f"seed{seed}" for seed in arguments.seeds.split(",")]
    with unpacked(arguments.archive) as folder:
        baselines = {
            place.name: read_tables([place]) for place in sorted(folder.glob("baselines/*"))
        }
        results = {}
        for way in arguments.ways.split(","):
            arms = {
                arm: read_tables([folder / "arms" / arm / way / seed for seed in seeds])
                for arm in arguments.arms.split(",")
            }
            results[way] = compare_tables(arms, baselines, arguments)
    settings = {"reference": arguments.reference, "baselines": sorted(baselines)}
    draw_comparison({"settings": settings, "results": results}, arguments.picture)


if __name__ == "__main__":
    main()
