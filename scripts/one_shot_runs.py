# python scripts/one_shot_runs.py --rule runs/cactus_protonet/rule_last.safetensors
# python scripts/one_shot_runs.py --runs FILE --rule FILE FILE --encoder encoder.safetensors --json results.json
"""The error on Omniglot's official one-shot runs: 20 times 20 ways within an alphabet, one labelled example each."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("one_shot_runs")
