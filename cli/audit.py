"""``zhiyin audit``: every sentence of a sample of lists, held against the lake."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.options import Dataset, chosen_settings
from zhiyin.store import write_json

console = Console()


def audit(
    users: Annotated[int, typer.Option(min=1, help="So many users, ten items each.")] = 150,
    buy: Annotated[int, typer.Option(min=0, max=10, help="Also after each took so many of the first, live.")] = 0,
    dataset: Dataset = None,
) -> None:
    """Count every claim of the champion's sentences again from the lake; fails where one is false."""
    from pipeline.audit import audit_champion

    settings = chosen_settings(dataset)
    found = audit_champion(settings, users, buy)
    for name, facts in found.items():
        table = Table("claim", "true", "false", "misleading", title=TITLES[name].format(**facts))
        for kind, verdicts in facts["by_kind"].items():
            table.add_row(kind, *(f"{verdicts[each]:,}" for each in ("true", "false", "misleading")))
        table.add_row("all", *(f"{facts[each]:,}" for each in ("true", "false", "misleading")), style="bold")
        console.print(table)
        for example in facts["examples"][:10]:
            console.print(f"{example['verdict']}: {example['why']}: {example}", highlight=False, markup=False)
    path = settings.reports / "audit.json"
    write_json(path, found)
    console.print(f"written: {path}", highlight=False)
    if any(facts["false"] for facts in found.values()):
        raise typer.Exit(1)


TITLES = {
    "lists": "{lists:,} lists, {items:,} items, {unexplained:,} of them unexplained",
    "after": "after live events: {lists:,} lists, {items:,} items, {unexplained:,} of them unexplained",
}
