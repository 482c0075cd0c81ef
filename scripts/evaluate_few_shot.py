# python scripts/evaluate_few_shot.py --rule runs/umtra/rule.safetensors --data npz:FILE@test --ways 5 --shots 1 5
# python scripts/evaluate_few_shot.py --rule FILE --data npz:FILE@test --encoder network.safetensors --json results.json
"""Judge a rule that learned where a network starts (maml, protonet) as the few-shot papers do, with true labels."""

from unsupervised_update_rules.commands import evaluate_few_shot
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(evaluate_few_shot.main)
