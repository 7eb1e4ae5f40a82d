"""`geed plan STUDY`: what a study will cost, from the records of studies that ran here."""

import argparse
import math
from collections import Counter
from pathlib import Path

_SHARED = ("sources", "weights")  # folders of results/ that are no study's
_SPEEDUP = 30.0
_UNITS = {"each": "a job", "steps": "a step", "images": "an image", "gmac": "10^9 multiply-adds"}
_UNITS |= {"numbers": "10^6 outputs looked at", "sets": "a set of images", "megabytes": "a MB"}


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("plan", help="print a study's jobs, hours, memory and disk by stage, before it is run")
    parser.add_argument("study", type=Path, nargs="?", help="its file in workflow/studies (the demo, config.yaml)")
    parser.add_argument(
        "--records", type=Path, nargs="+", metavar="FOLDER", help="results folders that rates are fitted to (all in results/)"
    )
    parser.add_argument(
        "--speedup",
        type=float,
        default=_SPEEDUP,
        metavar="N",
        help=f"cores that a GPU is assumed to be worth, where no record is of a GPU ({_SPEEDUP:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Print the table, and what it rests on."""
    from geed.claims.names import FIGURES
    from geed.errors import GeedError
    from geed.study import forecast
    from geed.study import plan as study_plan

    if not args.speedup > 0:
        raise GeedError(f"--speedup: expected a number above 0, found {args.speedup:g}")
    plan = study_plan.load(["config.yaml", *([args.study] if args.study else [])], "workflow/schemas")
    folders = args.records or sorted(
        path
        for path in Path("results").glob("*")
        if path.is_dir() and path.name not in _SHARED and any(path.rglob("*.record.json"))
    )
    samples = [sample for folder in folders for sample in _samples(folder)]
    if not {"train", "measure"} <= {sample.rule for sample in samples}:
        found = ", ".join(str(folder) for folder in folders) or "no study in results/"
        raise GeedError(f"expected the records of trained and measured networks, found {found}; run the demo first: make figures")
    on_gpu = plan.device == "cuda"
    of_gpus = [sample for sample in samples if sample.gpu]
    recorded = on_gpu and {"train", "measure"} <= {sample.rule for sample in of_gpus}
    rules = {sample.rule for sample in of_gpus} if recorded else set()
    used = [sample for sample in samples if bool(sample.gpu) == (sample.rule in rules)]
    figures = sum(claim in FIGURES for claim in plan.claims)
    figures += sum(map(bool, (plan.overview, plan.corrupted_sets, plan.searched))) + 2 * bool(plan.explained)
    found = forecast.forecast(plan, used, reading=len(plan.claims) + figures + 3)  # the table of claims, the page, the crate
    networks = sum(len(plan.run_seeds[run]) for run in forecast.trained(plan))
    jobs = sum(stage.jobs for stage in found.stages.values())
    print(f"study {plan.study}: {networks:,} networks, {jobs:,} jobs beside downloads\n")
    print(*_table(found, on_gpu, 1 if recorded or not on_gpu else args.speedup), sep="\n")
    print(*_grounds(found, used, folders, on_gpu and not recorded, args.speedup), sep="\n")
    return 0


def _samples(folder: Path) -> list:
    from geed.provenance import records
    from geed.study import forecast

    study = records.load(folder)
    sets = {record.wildcards["set"]: forecast.prepared(record.content) for record in study.records if record.rule == "prepare"}
    found = []
    for record in study.records:
        paths = [study.place(path) for path in record.outputs]
        written = sum(path.stat().st_size for path in paths if path.exists()) / 2**20
        found.append(forecast.sample(record.content, sets, written))
    return [sample for sample in found if sample is not None]


def _table(found, on_gpu: bool, factor: float) -> list[str]:
    """The table's lines; hours on GPUs are marked."""
    lines = [
        f"{'stage':10}{'jobs':>8}{'hours':>16}{'longest job':>16}{'memory':>10}{'disk':>11}   largest job / largest recorded"
    ]
    for name, stage in found.stages.items():
        gpu = on_gpu and name in ("search", "train", "measure", "look")
        share = factor if gpu else 1
        beyond = f"{stage.stretch:,.1f}" if stage.stretch else ""
        beyond += f"   no record: {stage.unknown:,} jobs not counted" if stage.unknown else ""
        lines.append(
            f"{name:10}{stage.jobs:>8,}{_hours(stage.hours / share, gpu):>16}{_hours(stage.longest / share, gpu):>16}"
            f"{stage.memory:>7.1f} GB{stage.disk:>8.2f} GB   {beyond}".rstrip()
        )
    stages = found.stages.values()
    lines.append(f"{'all':10}{sum(s.jobs for s in stages):>8,}{'':>42}{sum(s.disk for s in stages):>8.2f} GB")
    return lines


def _hours(hours: float, gpu: bool) -> str:
    return f"{hours:,.2f} {'GPU' if gpu else 'core'}-h"


def _grounds(found, used: list, folders: list[Path], assumed: bool, speedup: float) -> list[str]:
    """What the table rests on, in sentences."""
    counts = Counter(sample.rule for sample in used)
    lines = ["", f"Fitted to the records of {', '.join(str(folder) for folder in folders)}:"]
    for rule in ("train", "measure", "prepare", "corrupt"):
        if rule not in found.fits:
            continue
        fit = found.fits[rule]
        rates = " + ".join(f"{rate:.2g} s {_UNITS[name]}" for name, rate in fit.rates.items() if rate > 0)
        error = (
            "too few runs to tell the error"
            if math.isnan(fit.error)
            else f"runs left out: within a factor {fit.error:.2f} (9 of 10)"
        )
        lines.append(f"  {rule}: {rates}; {counts[rule]:,} jobs; {error}")
    if assumed:
        lines.append(f"No record is of a GPU: GPU-hours are core-hours divided by {speedup:g}, an assumption (--speedup).")
    lines.append("Hours are of the recorded machine, start-up of each job included, waiting in queues not.")
    return lines
