# Needs: the claims' parts, what was recorded for figures, the searches' tables, and corrupted data. Gives: figures/<study>/<name>.{pdf,png}.


rule figure:
    input:
        unpack(figure_inputs),
        code=code("figure.py"),
    output:
        pdf=f"{FIGURES}/{{figure}}.pdf",
        png=f"{FIGURES}/{{figure}}.png",
        record=f"{FIGURES}/{{figure}}.record.json",
    log:
        f"{LOGS}/figures/{{figure}}.log",
    resources:
        **asks(),
    script:
        "../scripts/figure.py"


rule contact_sheet:
    input:
        unpack(sheet_inputs),
        code=code("contact_sheet.py"),
    output:
        pdf=f"{FIGURES}/corruptions.pdf",
        png=f"{FIGURES}/corruptions.png",
        record=f"{FIGURES}/corruptions.record.json",
    log:
        f"{LOGS}/figures/corruptions.log",
    resources:
        **asks(),
    script:
        "../scripts/contact_sheet.py"
