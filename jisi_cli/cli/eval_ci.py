"""A comparison for CI: an average that is demanded, JUnit XML, which is shown as tests, and Markdown, as text."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args

from jisi_cli.cli.output import count, dollars, one_line
from jisi_cli.errors import BelowThresholdError, InputError, did_you_mean
from jisi_cli.evaluation.comparison import headline

if TYPE_CHECKING:
    from jisi_cli.evaluation.comparison import MethodReport
    from jisi_cli.evaluation.statistics import Difference

Format = Literal["table", "json", "junit", "markdown"]
_NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_MARKED = re.compile(r"([\\`*_\[\]<>|~&])")
_LAST_BITS = 1e-9
"""Averages are exact but for their last bits, and 57 % is not below 57."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The average that `--fail-under` demands of a method.

    Attributes:
        percent: The least average, in percent; None demands nothing.
        method: Name of the method; empty for the first one of the report.
    """

    percent: float | None
    method: str

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read `70` or `70:METHOD`; nothing demands nothing.

        Raises:
            InputError: It says something else.
        """
        if text is None:
            return cls(None, "")
        number, _, method = text.partition(":")
        try:
            percent = float(number)
        except ValueError:
            percent = math.nan
        if 0 < percent < 1:
            meant = text.replace(number, f"{100 * percent:g}", 1)
            raise InputError(
                f"--fail-under takes a percentage, and {number} demands less than 1 %; "
                f"did you mean {100 * percent:g} %? Then write --fail-under {meant}"
            )
        if not 0 <= percent <= 100:
            raise InputError(f"--fail-under takes a percentage from 0 to 100, or PERCENTAGE:METHOD, not {text!r}")
        return cls(percent, method)

    def rows(self, names: Sequence[str]) -> list[str]:
        """Return the rows of the report that are meant: all readings of the method.

        Raises:
            InputError: The method is not among them.
        """
        # A method may stand in several readings, as in `jisi-router (calibrated)`.
        found = [name for name in names if name == self.method]
        found = found or [name for name in names if name.partition(" (")[0] == self.method]
        if not self.method:
            found = list(names[:1])
        if not found:
            near = did_you_mean(self.method, names)
            raise InputError(f"--fail-under: `{self.method}`{near} is not among the methods {', '.join(names)}")
        return found

    def check(self, reports: Sequence[MethodReport]) -> None:
        """Compare.

        Raises:
            BelowThresholdError: An average is below, or there is none.
        """
        below = self.below(reports)
        for report in reports:
            if report.name in below:
                shown = f"{100 * report.averages.average:.6g} %" if report.averages else "no average"
                raise BelowThresholdError(f"{report.name} reached {shown}, below --fail-under {self.percent:g}")

    def below(self, reports: Sequence[MethodReport]) -> list[str]:
        """Return the names of the methods that are meant and below what is demanded, or without an average."""
        if self.percent is None:
            return []
        meant = self.rows([report.name for report in reports])
        least = self.percent - _LAST_BITS
        averages = {r.name: 100 * r.averages.average if r.averages else -math.inf for r in reports if r.name in meant}
        return [name for name, reached in averages.items() if reached < least]


def chosen_format(name: str | None, *, as_json: bool) -> Format:
    """Return how a comparison is printed.

    Raises:
        InputError: There is no such format, or two were asked for.
    """
    if name is None:
        return "json" if as_json else "table"
    for known in get_args(Format):
        if name == known:
            if as_json and name != "json":
                raise InputError(f"--json and --output-format {name} print the same in two ways; give one of them")
            return known  # type: ignore[no-any-return]
    near = did_you_mean(name, get_args(Format))
    raise InputError(f"--output-format is one of {', '.join(get_args(Format))}, not {name!r}{near}")


def to_junit(reports: Sequence[MethodReport], below: Collection[str], demanded: float | None) -> str:
    """Return a suite for each method: a test for each data set, and one for the average.

    A test fails where --fail-under demands more, is an error where questions were left without an answer, and skipped
    where the method needs calls that were not recorded.

    Args:
        reports: The methods.
        below: Names of those that are below what was demanded.
        demanded: What was demanded, in percent.
    """
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    suites = Element("testsuites", name="jisi eval")
    for report in reports:
        suite = SubElement(suites, "testsuite", name=_xml(report.name))
        for dataset, mean in sorted((report.averages.datasets if report.averages else {}).items()):
            case = SubElement(suite, "testcase", classname=_xml(report.name), name=_xml(dataset))
            SubElement(case, "system-out").text = f"{100 * mean:.2f} %"
        case = SubElement(suite, "testcase", classname=_xml(report.name), name="Avg")
        if report.name in below:
            SubElement(case, "failure", message=f"{_average(report)} % is below {demanded:g} %")
        elif report.failed:
            SubElement(case, "error", message=f"no model answered {count(report.failed, 'question')}")
        elif report.needs_live:
            SubElement(case, "skipped", message="needs --live, for calls that were not recorded")
        SubElement(case, "system-out").text = f"{_average(report)} %, cost per question: {_costs(report)}"
        kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        suite.set("tests", str(len(suite.findall("testcase"))))
        for attribute, kind in kinds.items():
            suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
    indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suites, encoding="unicode")


def to_markdown(reports: Sequence[MethodReport], questions: int) -> str:
    """Return the headline, a table of the methods, and what it counts."""
    versus = list(dict.fromkeys(found.versus for report in reports for found in report.versus))[:1]
    titles = ["method", "Avg, %", *(f"vs {_text(name)}, points" for name in versus), "calls", "$ per question"]
    failed = any(report.failed for report in reports)
    lines = [f"**{_text(headline(reports))}**", "", _row([*titles, *(["failed"] if failed else [])])]
    lines.append(_row(["---", *["---:"] * (len(titles) - 1 + failed)]))
    for report in reports:
        differences = [_difference(report.versus, name) for name in versus]
        calls = "–" if report.calls is None else f"{report.calls:.2f}"
        cells = [_text(report.name), _average(report), *differences, calls, _text(_costs(report))]
        lines.append(_row([*cells, *([f"{report.failed:,}"] if failed else [])]))
    note = f"{count(questions, 'question')}; Avg gives each data set the same weight; 95 % paired bootstrap intervals."
    return "\n".join([*lines, "", note])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _difference(found: Sequence[Difference], versus: str) -> str:
    for difference in found:
        if difference.versus == versus and difference.questions:
            low, high = 100 * difference.low, 100 * difference.high
            return f"{100 * difference.average:+.2f} \\[{low:+.2f}, {high:+.2f}\\]"
    return ""


def _average(report: MethodReport) -> str:
    return "–" if report.averages is None else f"{100 * report.averages.average:.2f}"


def _costs(report: MethodReport) -> str:
    return "–" if report.calls is None else dollars(report.cost_usd)


def _text(text: str) -> str:
    """Return text of which Markdown, or HTML in it, makes nothing else."""
    return _MARKED.sub(r"\\\1", one_line(text))


def _xml(text: str) -> str:
    return _NO_XML.sub("", one_line(text))
