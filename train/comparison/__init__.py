"""Interactions compared: every form tuned, trained and retrained at one budget; what it earns and what it costs.

Read `comparison.py` first: what is compared. `worker.py` trains one form, in a process of its own; `compare.py` starts
the workers and measures serving; `report/` makes the table and the plot.

    OUT/comparison.json                     settings, forms and seeds
    OUT/figures/FORM/rate-R-seed-S.json     what one training run earned and cost
    OUT/runs/FORM/rate-R-seed-S/            a run folder, while it is needed
    OUT/models/FORM/                        the artefact of the first seed's run, which is timed
    OUT/latency.json                        what `pinfm latency` said of all artefacts
    OUT/logs/FORM.txt                       what a form's process said
    OUT/interactions.{json,md,svg}          the report
"""
