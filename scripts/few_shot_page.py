# python scripts/few_shot_page.py
# python scripts/few_shot_page.py --results docs/results/few_shot --page docs/unsupervised-meta-learning.md
"""Write the tables of learned starts with and without labels from the JSON files that evaluate_few_shot.py stored."""

from unsupervised_update_rules.commands import few_shot_page
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(few_shot_page.main)
