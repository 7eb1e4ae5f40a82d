# geed: every claim of the papers is a target with a verdict.
#
#   snakemake --cores 2                                            the demo study (config.yaml)
#   snakemake --cores 2 claim_K1                                   one claim and what it needs
#   snakemake --cores 2 --configfile workflow/studies/<study>.yaml another study
#
# Data flows one way: plan -> data -> train -> measure -> claims -> figures -> report, one rule file a stage.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


container: "envs/geed.sif"  # of envs/geed.def; unused but for --sdm apptainer


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


onstart:
    one_run_at_a_time()
    let_the_scheduler_sleep()


onerror:
    show_what_is_there()


localrules:
    all,


rule all:
    default_target: True
    input:
        measurements(PLAN.measured),
        readings_tables(),
        rules.claims_table.output,
        all_figures(),
        rules.report.output,
        rules.crate.output,
    log:
        "logs/{}/all.log".format(PLAN.study),
