# python scripts/cluster.py --data csv:FILE [--clusters K] [--with learned|chosen|NAME]
# python scripts/cluster.py --data sklearn:iris --clusters 3 --with learned --out clusters.csv --plot clusters.png
"""Find clusters in data of your own: a cluster for each row, why, and a picture."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("cluster")
