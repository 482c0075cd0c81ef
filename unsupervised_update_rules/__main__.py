"""``python -m unsupervised_update_rules COMMAND ...``: what the scripts of the repository do, where it is installed."""

import sys

from unsupervised_update_rules.commands.entry import COMMANDS, run_command


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        width = max(map(len, COMMANDS))
        told = "\n".join(f"  {command:{width}}  {what}" for command, what in COMMANDS.items())
        asked = name in ("-h", "--help")
        print(
            f"python -m unsupervised_update_rules COMMAND [--help]\n\n{told}", file=sys.stdout if asked else sys.stderr
        )
        sys.exit(0 if asked else 2)
    sys.argv = [f"{sys.argv[0]} {name}", *sys.argv[2:]]
    run_command(name)


if __name__ == "__main__":
    main()
