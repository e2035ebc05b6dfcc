"""Words of one domain stand in its dataset's folder: code and models that serve every dataset have none."""

import re

import pytest

from zhiyin.settings import PROJECT

GROCERIES = re.compile(
    r"\b(dollars?|leaflets?|mailers?|grocer\w*|shoppers?|shops?|households?|receipts?|coupons?|merchandise|supermarkets?"
    r"|milk|bread|eggs|soup|frzn|visits? to the)\b",
    re.IGNORECASE,
)
GENERIC = {
    "zhiyin": "*.py",
    "bento": "*.py",
    "bento/page": "*.*",
    "pipeline": "*.py",
    "monitoring": "*.py",
    "feature_repo": "*.py",
    "dbt_project/models": "*.*",
    "dbt_project/macros": "*.*",
    "dbt_project/tests": "*.*",
}
EXCEPT = {"zhiyin/onboarding/names.py"}  # names of columns by which sources are recognised


@pytest.mark.parametrize("folder", GENERIC)
def test_generic_files_hold_no_word_of_groceries(folder: str) -> None:
    files = [path for path in (PROJECT / folder).rglob(GENERIC[folder]) if "__pycache__" not in path.parts]
    assert files
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {match[0]}"
        for path in files
        if str(path.relative_to(PROJECT)) not in EXCEPT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := GROCERIES.search(line))
    ]
    assert found == []


def test_the_page_imports_modules_that_are_there() -> None:
    page = PROJECT / "bento" / "page"
    named = {
        (script.name, target)
        for script in page.glob("*.js")
        for target in re.findall(r'from "\./([\w.]+)"', script.read_text(encoding="utf-8"))
    }
    assert named
    assert [pair for pair in named if not (page / pair[1]).is_file()] == []
