# Needs: the claims' parts, and the recorded orbit for the overview. Gives: figures/<study>/<name>.{pdf,png}.


rule figure:
    input:
        unpack(figure_inputs),
        code=code("figure.py"),
    output:
        pdf=f"{FIGURES}/{{figure}}.pdf",
        png=report(
            f"{FIGURES}/{{figure}}.png",
            caption="../report/figure.rst",
            category="3 Figures",
            labels={"figure": "{figure}"},
        ),
        record=f"{FIGURES}/{{figure}}.record.json",
    log:
        f"{LOGS}/figures/{{figure}}.log",
    script:
        "../scripts/figure.py"
