"""Names beside points never lie on one another."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.report.charts import FONT_SIZE, text_width
from jisi_cli.report.price_chart import Label, Point, place_labels

POINTS = st.builds(
    Point, st.floats(0, 600), st.floats(0, 300), st.text("abcde-", min_size=1, max_size=20), st.booleans()
)


def box(label: Label) -> tuple[float, float, float, float]:
    size = text_width(label.text)
    left = label.x - {"left": 0.0, "center": size / 2, "right": size}[label.align]
    return left, label.y - FONT_SIZE / 2, left + size, label.y + FONT_SIZE / 2


@given(st.lists(POINTS, max_size=12))
def test_names_lie_inside_and_apart_from_each_other(points: list[Point]):
    boxes = [box(label) for label in place_labels(points, (600, 300))]
    assert all(b[0] >= 0 and b[2] <= 600 and b[1] >= 0 and b[3] <= 300 for b in boxes)
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_name_that_could_be_another_point_s_is_left_out():
    crowd = [Point(100 + 8 * (at % 5), 100 + 8 * (at // 5), f"method-{at}", first=True) for at in range(25)]
    named = {label.text for label in place_labels(crowd, (400, 300))}
    assert "method-12" not in named  # in the middle
    assert "method-0" in named  # at a corner


def test_points_in_one_place_share_a_name():
    labels = place_labels([Point(100, 100, "knn"), Point(100, 100, "jisi-query")], (400, 200))
    assert [label.text for label in labels] == ["knn, jisi-query"]


def test_a_line_is_not_crossed():
    plain = place_labels([Point(100, 100, "knn")], (400, 200))
    moved = place_labels([Point(100, 100, "knn")], (400, 200), [(105, 99, 300, 101)])
    assert plain[0].align == "left" and moved[0].align == "right"
