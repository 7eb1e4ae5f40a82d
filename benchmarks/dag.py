"""What the DAG costs: wall time of a finished run against the compute of its jobs, and what each job's start-up takes.

    python benchmarks/dag.py results/<study> --cores 2 [--log .snakemake/log/<date>.snakemake.log]

Compute is what happens inside a job's frame, from its record. The rest of the cores' time is start-up and imports (told by the
records too), scheduling, and cores that had nothing to do. Wall time is that of the log; without one, from the first job's
start to the last job's end, which leaves Snakemake's own start out.
"""

import argparse
import statistics
import sys
import time
from calendar import timegm
from collections import defaultdict
from pathlib import Path

from geed.errors import GeedError
from geed.provenance import records


def wall_of_log(path: Path) -> float:
    """Seconds from when Snakemake opened its log, which the file's name tells, to when it wrote its last word."""
    try:
        opened = time.mktime(time.strptime(path.name[:17], "%Y-%m-%dT%H%M%S"))
    except ValueError:
        sys.exit(f"{path}: expected a log of Snakemake, named after the time that it was opened")
    return path.stat().st_mtime - opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=2, help="that the run had (2)")
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    try:
        study = records.load(arguments.folder)
    except GeedError as error:
        sys.exit(str(error))
    by_rule = defaultdict(list)
    begin, end = float("inf"), 0.0
    for record in study.records:
        cost, threads = record.content["cost"], record.content["machine"]["threads"]
        started = timegm(time.strptime(cost["started"], "%Y-%m-%dT%H:%M:%SZ"))
        begin, end = min(begin, started - cost["startup_seconds"]), max(end, started + cost["wall_seconds"])
        by_rule[record.rule].append((cost["wall_seconds"] * threads, cost["startup_seconds"]))
    wall = wall_of_log(arguments.log) if arguments.log else end - begin
    print(f"{'rule':15}{'jobs':>6}{'compute':>12}{'start-up, each':>16}{'start-up, all':>15}")
    for rule, jobs in sorted(by_rule.items(), key=lambda entry: -sum(compute for compute, _ in entry[1])):
        compute, starts = sum(compute for compute, _ in jobs), [start for _, start in jobs]
        print(f"{rule:15}{len(jobs):>6}{compute:>10.1f} s{statistics.median(starts):>14.2f} s{sum(starts):>13.1f} s")
    compute, starting = (sum(job[place] for jobs in by_rule.values() for job in jobs) for place in (0, 1))
    held = arguments.cores * wall
    print(f"\nwall time {wall:.1f} s on {arguments.cores} cores: {held:.1f} core-s, of which")
    print(f"  compute of the jobs              {compute:10.1f} core-s  {compute / held:6.1%}")
    print(f"  start-up and imports of jobs     {starting:10.1f} core-s  {starting / held:6.1%}")
    print(f"  scheduling, and idle cores       {held - compute - starting:10.1f} core-s  {1 - (compute + starting) / held:6.1%}")
    print(f"all but compute: {1 - compute / held:.1%} (must be <= 40 % of the demo, <= 10 % of the standard study)")


if __name__ == "__main__":
    main()
