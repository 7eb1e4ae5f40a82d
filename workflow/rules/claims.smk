# Needs: tables of measurements. Gives: results/<study>/claims/<ID>.{json,csv}, the verdict of each claim and its parts;
# claims.{csv,md,json}, all verdicts; and a target claim_<ID> for each.


rule claim:
    input:
        tables=claim_inputs,
        code=code("claim.py"),
    output:
        result=f"{RESULTS}/claims/{{claim}}.json",
        parts=f"{RESULTS}/claims/{{claim}}.csv",
        record=f"{RESULTS}/claims/{{claim}}.record.json",
    log:
        f"{LOGS}/claims/{{claim}}.log",
    threads: 1
    resources:
        **asks("claim"),
    params:
        settings=claim_settings,
        study=PLAN.study,
        seeds=claim_seeds,
        folder=f"{RESULTS}/measurements",
    script:
        "../scripts/claim.py"


rule claims_table:
    input:
        results=expand(f"{RESULTS}/claims/{{claim}}.json", claim=PLAN.claims),
        code=code("claims_table.py"),
    output:
        csv=f"{RESULTS}/claims.csv",
        markdown=f"{RESULTS}/claims.md",
        json=f"{RESULTS}/claims.json",
        record=f"{RESULTS}/claims.record.json",
    log:
        f"{LOGS}/claims_table.log",
    resources:
        **asks(),
    script:
        "../scripts/claims_table.py"


for ID in PLAN.claims:

    rule:
        name:
            f"claim_{ID}"
        input:
            f"{RESULTS}/claims/{ID}.json",
            claim_figures(ID),
        log:
            f"{LOGS}/claims/{ID}.target.log",
        localrule: True
