# python scripts/knock_out.py --rule neuron_local --data digits --json docs/results/knock_out_neuron_local.json
"""What a rule needs: its accuracy, on the same tasks, with one part at a time switched off and not retrained."""

from unsupervised_update_rules.commands import knock_out
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(knock_out.main)
