"""jisi: a pool of large language models that acts as one (JiSi, arXiv 2601.01330).

The library in three lines:

    import jisi_cli as jisi

    with jisi.open(config="sample_data/jisi.toml") as pool:
        print(pool.ask("What is 17 * 23?").answer.text)

Importing it loads nothing else: each name is loaded when it is first used.
"""

TYPE_CHECKING = False  # typing's own would cost more than all of this
if TYPE_CHECKING:
    from jisi_cli.asking import ask_all
    from jisi_cli.bank.bank import Bank
    from jisi_cli.collect.labelling import Labelling
    from jisi_cli.comparing import evaluate
    from jisi_cli.comparing_splits import evaluate_splits
    from jisi_cli.errors import BankError, BudgetError, InputError, JisiError, NoAnswerError
    from jisi_cli.evaluation.comparison import Comparison
    from jisi_cli.evaluation.splits import SplitComparison
    from jisi_cli.jisi import Jisi
    from jisi_cli.jisi import Jisi as open
    from jisi_cli.methods.decision import Decision
    from jisi_cli.methods.protocol import Outcome
    from jisi_cli.methods.registry import register_method

__version__ = "0.1.0"

__all__ = [
    "Bank",
    "BankError",
    "BudgetError",
    "Comparison",
    "Decision",
    "InputError",
    "Jisi",
    "JisiError",
    "Labelling",
    "NoAnswerError",
    "Outcome",
    "SplitComparison",
    "ask_all",
    "evaluate",
    "evaluate_splits",
    "open",
    "register_method",
]

_HOMES = {
    "Bank": "bank.bank",
    "Comparison": "evaluation.comparison",
    "Decision": "methods.decision",
    "Jisi": "jisi",
    "Labelling": "collect.labelling",
    "Outcome": "methods.protocol",
    "SplitComparison": "evaluation.splits",
    "ask_all": "asking",
    "evaluate": "comparing",
    "evaluate_splits": "comparing_splits",
    "open": "jisi",
    "register_method": "methods.registry",
}
"""The modules of public names; the errors are in `errors`."""


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    found = globals()[name] = getattr(home, "Jisi" if name == "open" else name)
    return found


def __dir__() -> list[str]:
    """Name what is public, loaded or not."""
    return sorted({*globals(), *__all__})
