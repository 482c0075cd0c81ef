# python scripts/training_curve.py --run runs/neuron_local_glyphs --json docs/results/training_neuron_local_glyphs.json
"""Keep a run's held-out accuracy against outer steps and time, for the page that scripts/results_page.py writes."""

from unsupervised_update_rules.commands import training_curve
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(training_curve.main)
