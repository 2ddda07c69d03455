"""What a picture leaves in a notebook."""

from matplotlib.figure import Figure

from lab_utils.show.snapshot import Snapshot


def test_snapshot_leaves_a_png_and_words_and_no_script():
    data, metadata = Snapshot(Figure(figsize=(1, 1)), 'a "picture" <b>')._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert data["image/png"].startswith("iVBORw0KGgo")
    assert data["text/plain"] == metadata["image/png"]["alt"] == 'a "picture" <b>'


def test_snapshot_takes_plotlys_json_along():
    data, _ = Snapshot(Figure(figsize=(1, 1)), "words", {"data": [], "layout": {}})._repr_mimebundle_()
    assert data["application/vnd.plotly.v1+json"] == {"data": [], "layout": {}}


def test_snapshot_in_html_escapes_its_words():
    html = Snapshot(Figure(figsize=(1, 1)), 'a "picture" <b>').html()
    assert html.startswith('<img alt="a &quot;picture&quot; &lt;b&gt;" src="data:image/png;base64,iVBOR')
