"""The texts of a copied output: what is put in place of what, and what is read back of a page."""

import msgspec
from markupsafe import escape

from worker.quality.html_report import ENVIRONMENT, Moment, moments_of
from worker.reuse import translation

BEFORE, NOW = 's3://b/a & "b"/é.mp4', "s3://b/<new>/é.mp4"


def test_a_text_is_replaced_as_it_stands_in_plain_text_in_json_and_in_html() -> None:
    translate = translation([(BEFORE, NOW)])
    assert translate(f"of {BEFORE}.") == f"of {NOW}."
    assert msgspec.json.decode(translate(msgspec.json.encode({"input": BEFORE}).decode())) == {"input": NOW}
    assert translate(f"<dd>{escape(BEFORE)}</dd>") == f"<dd>{escape(NOW)}</dd>"


def test_the_longest_text_is_replaced_and_nothing_is_replaced_twice() -> None:
    translate = translation([("s3://b/", "s3://c/"), ("s3://b/film.mp4", "s3://b/other.mp4"), ("x", "")])
    assert translate("s3://b/film.mp4 s3://b/report x") == "s3://b/other.mp4 s3://c/report "


def test_an_origin_and_an_input_may_change_places() -> None:
    assert translation([("s3://b/1", "s3://b/2"), ("s3://b/2", "s3://b/1")])("s3://b/1 s3://b/2") == "s3://b/2 s3://b/1"


def test_the_moments_of_a_page_are_read_back() -> None:
    moments = [Moment(7, 0.28, 43.21, b"\xff\xd8one", b"\xff\xd8two"), Moment(99_000, 3960.04, 5.0, b"\xff", b"\xfe")]
    assert moments_of(ENVIRONMENT.get_template("moments.html").render(moments=moments)) == moments
    assert moments_of(ENVIRONMENT.get_template("moments.html").render(moments=[])) == []
