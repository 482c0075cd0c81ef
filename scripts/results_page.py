# python scripts/results_page.py
# python scripts/results_page.py --results docs/results/winners --page docs/winners.md \
#     --title 'Results where units compete' --hidden 512 --activation winners_linear --steps 200 --beside docs/results
# python scripts/results_page.py --results docs/results --rules pretrained/hebbian.safetensors --page docs/results.md
"""Write the page of results, with its tables and plots, from the JSON files that scripts/evaluate.py stored."""

from unsupervised_update_rules.commands import results_page
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(results_page.main)
