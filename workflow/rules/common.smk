# Needs: the config. Gives: PLAN, and the helpers that say what a job reads.
import os
import re
import sys
from pathlib import Path

from geed.claims.names import FIGURES as FIGURES_OF
from geed.data import mirror as mirrors
from geed.errors import GeedError
from geed.models.published import PRETRAINED
from geed.provenance import running
from geed.provenance.sources import sources
from geed.study import fetch as study_fetch
from geed.study import plan as study_plan
from geed.study import resources


def load_plan():
    """The plan of the study; bad input ends the run here, before any job, in one sentence."""
    settings = workflow.config_settings
    files = ["config.yaml", *(os.path.relpath(path) for path in settings.configfiles)]
    try:
        return study_plan.load(files, "workflow/schemas", settings.config)
    except GeedError as error:
        sys.exit(f"geed: {error}")


PLAN = load_plan()
# Not a parameter of the rules: where a checksummed file was fetched from changes no result, so it must not rerun one.
mirrors.use(PLAN.mirror)


def one_run_at_a_time():
    """Called when jobs are about to start, by the process that starts them."""
    try:
        running.hold(PLAN.study)
    except GeedError as error:
        sys.exit(f"geed: {error}")


def let_the_scheduler_sleep():
    """Called when jobs are about to start: lift the limit of 100 starts a second, which no study here is near.

    Because of it Snakemake 9.27 looks for jobs again a second after it did, each time, in a chain of its own for every job that
    ended: after 200 jobs, 200 times a second (its issue 2967).
    """
    workflow.scheduler.job_rate_limiter = None


SOURCES = "results/sources"
RESULTS = f"results/{PLAN.study}"
FIGURES = f"figures/{PLAN.study}"
LOGS = f"logs/{PLAN.study}"


wildcard_constraints:
    set="[a-z][a-z0-9_]*",
    run="[a-z][a-z0-9_]*",
    seed=r"\d+",
    claim=r"[A-Z]\d+",
    figure="|".join(
        ["overview", "saliency", "embedding", "search", *FIGURES_OF.values()]
    ),
    source="|".join(re.escape(path) for path in study_fetch.FILES),
    weights="|".join(PRETRAINED),
    timm=r"\w+(\.\w+)?",


def code(script):
    """The script and the package sources that it imports: inputs of its rule, so that an edit reruns its dependents."""
    root = Path.cwd()
    return [
        str(
            path.relative_to(root)
            if path.is_absolute() and path.is_relative_to(root)
            else path
        )
        for path in sources(f"workflow/scripts/{script}")
    ]


def source_checksum(wildcards):
    return study_fetch.FILES[wildcards.source].sha256


def set_sources(wildcards):
    """Files to fetch for a data set; none for sets inside packages and for folders."""
    wanted = study_fetch.wanted(PLAN.sets[wildcards.set]["source"], SOURCES)
    return [f"{SOURCES}/{path}" for path in wanted]


def published_weights(wildcards):
    return f"{SOURCES}/{PRETRAINED[wildcards.weights].file.path}"


def weights_checksum(wildcards):
    return PRETRAINED[wildcards.weights].safetensors


def start_inputs(name, seed):
    """Prepared data of a run and, where it starts from another run or from pretrained weights, those weights."""
    run = PLAN.runs[name]
    inputs = {"data": f"{RESULTS}/data/{run['data']}.safetensors"}
    if source := run["initialisation"]["from"]:
        inputs["source"] = f"{RESULTS}/models/{source}/seed-{seed}/weights.safetensors"
    if run["initialisation"].get("pretrained"):
        name = run["architecture"]["name"].replace(":", "/")
        inputs["published"] = f"results/weights/{name}.safetensors"
    return inputs


def training_inputs(wildcards):
    """Where a run starts, and the search for its weight: its result and, for the seed searched with, its network."""
    inputs = start_inputs(wildcards.run, wildcards.seed)
    if wildcards.run in PLAN.searched:
        found = f"{RESULTS}/search/{wildcards.run}"
        inputs["search"] = f"{found}.json"
        if int(wildcards.seed) == first_seed(wildcards.run):
            inputs["network"] = [
                f"{found}/weights.safetensors",
                f"{found}/history.csv",
                f"{found}/snapshots.safetensors",
            ]
    return inputs


def search_inputs(wildcards):
    return start_inputs(wildcards.run, first_seed(wildcards.run))


def run_settings(wildcards):
    return PLAN.runs[wildcards.run]


def set_settings(wildcards):
    return PLAN.sets[wildcards.set]


def evaluations(wildcards):
    return PLAN.evaluations_of(wildcards.run)


def evaluation_data(wildcards):
    """Prepared sets that the evaluations of a run read, clean and corrupted, and what they blend them with."""
    wanted = PLAN.evaluations_of(wildcards.run).values()
    suffixes = {(e["data"], ".corrupted" if e["corrupted"] else "") for e in wanted}
    suffixes |= {(e["blend"]["with"], "") for e in wanted if e["blend"]}
    return sorted(
        f"{RESULTS}/data/{data}{suffix}.safetensors" for data, suffix in suffixes
    )


def measurements(runs):
    """Tables of the given runs, all seeds."""
    return [
        f"{RESULTS}/measurements/{run}/seed-{seed}/{table}.parquet"
        for run in runs
        for seed in PLAN.run_seeds[run]
        for table in ("table", "per_image")
    ]


def first_seed(run):
    """The seed of the networks that are searched with, drawn and explained."""
    return PLAN.run_seeds[run][0]


def weights_of(runs):
    """Weights of the first seed of the given runs."""
    return [
        f"{RESULTS}/models/{run}/seed-{first_seed(run)}/weights.safetensors"
        for run in runs
    ]


def claim_inputs(wildcards):
    return measurements(PLAN.claim_runs[wildcards.claim])


def claim_settings(wildcards):
    return PLAN.claims[wildcards.claim]


def claim_seeds(wildcards):
    """Seeds of the runs that a claim names."""
    return {run: PLAN.run_seeds[run] for run in PLAN.claim_runs[wildcards.claim]}


def orbit_weights(wildcards):
    """Weights of the runs that the overview figure shows, of the first seed."""
    return weights_of(PLAN.overview["runs"])


def orbit_data(wildcards):
    return f"{RESULTS}/data/{PLAN.runs[PLAN.overview['runs'][0]]['data']}.safetensors"


def readings_weights(wildcards):
    """Trained networks of the runs that the search over readings looks at."""
    return expand(
        f"{RESULTS}/models/{{run}}/seed-{{seed}}/weights.safetensors",
        run=PLAN.readings_runs,
        seed=PLAN.seeds,
    )


def readings_data(wildcards):
    return f"{RESULTS}/data/{PLAN.runs[PLAN.readings_runs[0]]['data']}.safetensors"


def readings_tables():
    """The search over readings, where the study has one."""
    return expand(
        f"{RESULTS}/readings.{{kind}}", kind=["csv", "md"] * bool(PLAN.readings)
    )


def explained_weights(wildcards):
    """Weights of the runs that are explained, of the first seed."""
    return weights_of(PLAN.explained_runs)


def explained_data(wildcards):
    return f"{RESULTS}/data/{PLAN.runs[PLAN.explained_runs[0]]['data']}.safetensors"


# What the jobs of each rule ask for; the rest of the rules read tables and ask for what reading takes.
ASKED = {
    "train": lambda wildcards: resources.of_training(PLAN, wildcards.run),
    "search": lambda wildcards: resources.of_search(PLAN, wildcards.run),
    "measure": lambda wildcards: resources.of_measuring(PLAN, wildcards.run),
    "prepare": lambda wildcards: resources.of_preparing(PLAN, wildcards.set),
    "corrupt": lambda wildcards: resources.of_corrupting(PLAN, wildcards.set),
    "orbit": lambda wildcards: resources.of_looking(PLAN, PLAN.overview["runs"][0]),
    "explain": lambda wildcards: resources.of_looking(PLAN, PLAN.explained_runs[0]),
    "readings": lambda wildcards: resources.of_looking(PLAN, PLAN.readings_runs[0]),
    "claim": lambda wildcards: resources.of_reading(
        PLAN, PLAN.claim_runs[wildcards.claim]
    ),
}


def asks(rule=None):
    """The keywords of a rule's `resources:`, functions of wildcards and attempt."""
    return resources.directives(
        ASKED.get(rule, lambda wildcards: resources.of_reading(PLAN))
    )


def figure_inputs(wildcards):
    """What a figure reads: its claim's verdict and parts, what was recorded for it, or the searches."""
    if wildcards.figure in ("saliency", "embedding"):
        return {"recorded": f"{RESULTS}/measurements/explained.safetensors"}
    if wildcards.figure == "search":
        found = expand(f"{RESULTS}/search/{{run}}", run=PLAN.searched)
        return {
            "results": [f"{path}.json" for path in found],
            "tried": [f"{path}.csv" for path in found],
        }
    if wildcards.figure == "overview":
        return {"activations": f"{RESULTS}/measurements/overview.safetensors"}
    claim = next(ID for ID, name in FIGURES_OF.items() if name == wildcards.figure)
    return {
        "result": f"{RESULTS}/claims/{claim}.json",
        "parts": f"{RESULTS}/claims/{claim}.csv",
    }


def sheet_inputs(wildcards):
    """The first data set that the study corrupts, clean and corrupted."""
    prepared = f"{RESULTS}/data/{PLAN.corrupted_sets[0]}"
    return {
        "data": f"{prepared}.safetensors",
        "corrupted": f"{prepared}.corrupted.safetensors",
    }


def claim_figures(claim):
    """The figures of one claim."""
    name = FIGURES_OF.get(claim)
    return [f"{FIGURES}/{name}.png"] if name else []


def all_figures():
    """Every figure of the study: one or more a claim, and those of the overview, corruptions, searches and explained networks."""
    names = [FIGURES_OF[claim] for claim in PLAN.claims if claim in FIGURES_OF]
    others = {
        "overview": PLAN.overview,
        "corruptions": PLAN.corrupted_sets,
        "search": PLAN.searched,
        "saliency": PLAN.explained,
        "embedding": PLAN.explained,
    }
    names = [name for name, shown in others.items() if shown] + names
    return expand(f"{FIGURES}/{{name}}.png", name=names)


def further_tables():
    """Tables that no claim or figure of the study needs: all measurements, searches for weights, the search over readings."""
    searches = expand(f"{RESULTS}/search/{{run}}.csv", run=PLAN.searched)
    made = [*searches, *readings_tables(), *measurements(PLAN.measured)]
    return [path for path in made if path.endswith((".csv", "table.parquet"))]


def study_shown():
    """What the page shows, as geed.report.content.Study takes it; not where files were fetched from, which changes no result."""
    figures = {claim: claim_figures(claim) for claim in PLAN.claims}
    of_claims = [path for paths in figures.values() for path in paths]
    settings = vars(PLAN) | {"seeds": list(PLAN.seeds)}
    return {
        "name": PLAN.study,
        "plan": {
            key: value
            for key, value in settings.items()
            if key not in ("mirror", "claim_runs")
        },
        "claims": figures,
        "pictures": [path for path in all_figures() if path not in of_claims],
        "tables": further_tables(),
        "results": RESULTS,
        "logs": [LOGS, "logs/sources", "logs/weights"],
    }


def show_what_is_there():
    """Called when jobs failed: the page shows what is there, what is missing, and the errors that stopped it."""
    from geed.report import partial
    from geed.report.content import Study

    study = Study(**study_shown())
    try:
        lines = partial.write(study, Path("workflow/report"), Path("CITATION.cff"))
        print(*(f"geed: {line}" for line in lines), sep="\n", file=sys.stderr)
    except GeedError as error:
        print(f"geed: {error}", file=sys.stderr)
