# Needs: verdicts, parts, figures and the records of all jobs. Gives: results/<study>/report.html, one page that needs nothing
# else, and ro-crate-metadata.json, the provenance of the study for machines.


rule report:
    input:
        verdicts=rules.claims_table.output.json,
        parts=expand(f"{RESULTS}/claims/{{claim}}.csv", claim=PLAN.claims),
        figures=all_figures(),
        tables=further_tables(),
        look=multiext("workflow/report/page", ".html", ".css", ".js"),
        code=code("report.py"),
    output:
        page=f"{RESULTS}/report.html",
        record=f"{RESULTS}/report.record.json",
    log:
        f"{LOGS}/report.log",
    resources:
        **asks(),
    params:
        study=study_shown(),
    script:
        "../scripts/report.py"


rule crate:
    input:
        page=rules.report.output.page,
        citation="CITATION.cff",
        code=code("crate.py"),
    output:
        metadata=f"{RESULTS}/ro-crate-metadata.json",
        record=f"{RESULTS}/ro-crate-metadata.record.json",
    log:
        f"{LOGS}/crate.log",
    resources:
        **asks(),
    params:
        study=study_shown(),
    script:
        "../scripts/crate.py"
