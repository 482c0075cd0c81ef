"""Recompute every claim of results/claims.yaml and write docs/results/ from results/ and docs/reference/ from the code.

Tables of other documents that name their claims get the numbers of these. With --check nothing is written, and the
exit code is 1 where something on disk is not what would be.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.atomic_file import atomic_write
from experiment.report.cells import documents, filled
from experiment.report.claims import claims_text, read_claims, recompute
from experiment.report.pages import Draw, render
from experiment.report.plots import save_png
from unsupervised_update_rules.commands.arguments import Parser
from unsupervised_update_rules.commands.reference import reference_pages

ROOT = Path(__file__).resolve().parents[2]


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, default=ROOT, metavar="FOLDER", help="holds results/ and docs/ (default: the checkout)"
    )
    parser.add_argument("--check", action="store_true", help="only tell what differs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Recompute, and write or compare."""
    arguments = make_parser().parse_args(argv)
    results, docs = arguments.root / "results", arguments.root / "docs" / "results"
    claims = [recompute(claim, arguments.root) for claim in read_claims(results / "claims.yaml")]
    by_id = {claim["id"]: claim for claim in claims}
    texts = {results / "claims.yaml": claims_text(claims)}
    texts |= {arguments.root / "docs" / "reference" / name: text for name, text in reference_pages().items()}
    for document in documents(arguments.root):
        name = str(document.relative_to(arguments.root))
        texts[document] = filled(document.read_text(encoding="utf-8"), by_id, name)
    figures: dict[Path, Draw] = {}
    studies = sorted((results / "studies").glob("*.yaml"))
    for study in studies:
        text, shown = render(study, arguments.root, by_id)
        texts[docs / f"{study.stem}.md"] = text
        figures |= {docs / name: draw for name, draw in shown.items()}
    different = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    different += [path for path in figures if not path.exists()]
    if not arguments.check:
        for path in different:
            if path in texts:
                path.parent.mkdir(exist_ok=True)
                with atomic_write(path) as file:
                    file.write(texts[path].encode())
        for path, draw in figures.items():
            save_png(draw(), path)
    print(f"{len(claims)} claims, {len(studies)} pages, {len(figures)} figures")
    for path in different:
        print(f"{'differs' if arguments.check else 'written'}: {path.relative_to(arguments.root)}")
    return int(arguments.check and bool(different))
