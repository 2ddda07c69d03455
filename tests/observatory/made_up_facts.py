"""What the observatory's tests share: a hostile prompt, a token's facts by hand, readers of HTML and of plotly."""

import base64
from html.parser import HTMLParser

import numpy as np

from lab_utils.observatory.token_strip import TokenFacts

SCRIPT = '<script>alert("1")</script> <b>bold</b> &amp; $x$ %{y}'


class Tags(HTMLParser):
    """The tags and the text of a piece of HTML, as a browser would read them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.labels = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.labels += [value for name, value in attrs if name == "aria-label"]

    def handle_data(self, data):
        self.text += data


def fact(text: str = "a", experts=(2, 0), runner_up=1) -> TokenFacts:
    return TokenFacts(text, experts, (0.75, 0.25), runner_up, None if runner_up is None else 0.125)


def unpacked(array: dict) -> np.ndarray:
    """Plotly's form for an array of numbers, read back."""
    values = np.frombuffer(base64.b64decode(array["bdata"]), dtype=f"<{array['dtype']}")
    return values.reshape([int(n) for n in array.get("shape", str(len(values))).split(", ")])
