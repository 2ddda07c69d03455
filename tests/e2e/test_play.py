"""The things to move by hand, in a browser: their numbers are the core's, keys move them, they fit and are named."""

from pathlib import Path

import pytest
import torch

from nanokimi.config import MoEConfig, RopeConfig
from nanokimi.optim import newton_schulz
from nanokimi.rope import apply_rope, rope_frequencies, rotations
from nanokimi.router import expert_load, max_violation, topk_route, update_expert_bias_

pytestmark = pytest.mark.slow
PLAY = Path(__file__).parents[2] / "docs" / "play"
NAMES = sorted(path.stem for path in PLAY.glob("*.html"))


@pytest.fixture
def play(browser):
    """A function that opens a page; at the end nothing was asked for and nothing was told."""
    pages, asked, told = [], [], []

    def open_page(name: str, width: int = 1200, scheme: str = "light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto((PLAY / f"{name}.html").as_uri())
        pages.append(page)
        return page

    yield open_page
    assert {url.rpartition("/")[2] for url in asked} <= {f"{name}.html" for name in NAMES} and told == []
    for page in pages:
        page.close()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("base", [100.0, 10_000.0])
def test_the_dial_turns_as_the_core_does(play, base):
    page, q, k = play("rope"), draw(1, 8), draw(2, 8)[:1]
    thetas = page.evaluate("base => frequencies(8, base)", base)
    torch.testing.assert_close(torch.tensor(thetas), rope_frequencies(8, RopeConfig(base=base)))
    for t, s in ((0, 0), (12, 9), (3, 40), (64, 1)):
        turns = rotations(torch.tensor([t, s]), 8, RopeConfig(base=base))
        expected = (apply_rope(q, turns[:1]) * apply_rope(k, turns[1:])).sum().item()
        given = [q[0].tolist(), k[0].tolist(), t, s, base]
        assert page.evaluate("given => score(...given)", given) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_the_router_chooses_and_moves_its_bias_as_the_core_does(play, top_k):
    page, logits, bias = play("router"), draw(1, 40, 5), torch.zeros(5)
    cfg = MoEConfig(n_routed_experts=5, top_k=top_k, routed_scaling_factor=1.0)
    theirs = bias.tolist()
    for _ in range(12):
        stats = topk_route(logits, bias, cfg)
        routed = page.evaluate("given => route(...given)", [logits[0].tolist(), theirs, top_k])
        for token, chosen, weights in zip(routed, stats.expert_idx[0], stats.weights[0]):
            expected = {e: pytest.approx(w, abs=1e-5) for e, w in zip(chosen.tolist(), weights.tolist())}
            assert dict(zip(token["chosen"], token["weights"])) == expected
        load = expert_load(stats.expert_idx, 5)
        counts = page.evaluate("routed => countLoad(routed, 5)", routed)
        assert counts == load.tolist()
        assert page.evaluate("load => maxViolation(load)", counts) == pytest.approx(
            max_violation(load.float())
        )
        update_expert_bias_(bias, load, 0.05)
        theirs = page.evaluate("given => moveBias(...given)", [theirs, counts, 0.05])
        assert theirs == pytest.approx(bias.tolist(), abs=1e-6)
    assert bias.abs().max() > 0.05


def test_the_quintic_is_the_core_s(play):
    page, values = play("muon"), [0.9, 0.4, 0.1, 0.02]
    for steps in (1, 2, 5, 8):
        expected = newton_schulz(torch.diag(torch.tensor(values)), steps, torch.float32).diag().tolist()
        found = page.evaluate("given => after(...given)", [values, steps])
        assert found == pytest.approx(expected, abs=1e-4)
    told = page.locator("#numbers").inner_text()
    assert told == "3.4445, −4.7750, 2.0315"


# ---------------------------------------------------------------- keys


def test_keys_turn_the_dial_and_the_score_knows_the_difference_only(play):
    page = play("rope")
    before = page.locator("#says").inner_text()
    score = before.split("score ")[1].split(".")[0]
    page.locator("#on").focus()
    page.keyboard.press("Enter")
    after = page.locator("#says").inner_text()
    assert after != before and after.split("score ")[1].split(".")[0] == score
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")  # the key's position alone
    assert "t − s = 2" in page.locator("#says").inner_text()
    assert "Pair 0: the arrows are 2.00 radians apart" in page.locator("#dials").get_attribute("aria-label")


def test_keys_drag_a_bias_and_a_button_evens_the_load(play):
    page = play("router")
    assert "MaxVio 1.00" in page.locator("#says").inner_text()
    page.get_by_role("slider", name="bias of 3").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert page.locator("#bias-3-value").inner_text() == "+0.300"
    logits, bias = torch.tensor([page.evaluate("LOGITS")]), torch.tensor([0.0, 0.0, 0.0, 0.3])
    stats = topk_route(logits, bias, MoEConfig(n_routed_experts=4, top_k=2))
    load = expert_load(stats.expert_idx, 4).tolist()
    assert f"expert 3 has {load[3]}." in page.locator("#tokens").get_attribute("aria-label")
    page.get_by_role("button", name="biases to 0").press("Enter")
    page.get_by_role("button", name="20 steps").press("Enter")
    assert (
        "Load 6, 6, 6, 6; even would be 6 each. MaxVio 0.00, 20 steps" in page.locator("#says").inner_text()
    )
    # What the page says of a large rate.
    page.get_by_role("button", name="biases to 0").press("Enter")
    page.get_by_role("slider", name="rate").press("End")
    page.get_by_role("button", name="20 steps").press("Enter")
    last = page.evaluate("past.slice(-8)")
    assert max(last) > 0.3 and len(set(last)) > 1


def test_keys_step_the_quintic(play):
    page = play("muon")
    for _ in range(5):
        page.get_by_role("button", name="one step").press("Enter")
    after = page.locator("#says").inner_text()
    assert after.startswith("After 5 steps: ")
    values = [float(value) for value in after.rstrip(".").partition(": ")[2].split(", ")]
    assert all(0.68 <= value <= 1.14 for value in values)
    page.get_by_role("slider", name="value 4").focus()
    page.keyboard.press("Home")
    assert page.locator("#value-3-value").inner_text() == "0.005"
    page.get_by_role("button", name="step 0").press("Enter")
    assert page.locator("#back").is_disabled()


# ---------------------------------------------------------------- looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_is_named_and_has_contrast(play, name, width, scheme):
    page = play(name, width, scheme)
    for button in reversed(page.get_by_role("button").all()):
        if button.is_enabled():
            button.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for svg in page.locator("svg").all():
        assert svg.get_attribute("role") == "img" and len(svg.get_attribute("aria-label")) > 30
        box = svg.bounding_box()
        inside = svg.evaluate(
            "svg => [...svg.querySelectorAll('text')].every(text => {"
            " const [a, b] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];"
            " return Math.min(a.left - b.left, b.right - a.right, a.top - b.top, b.bottom - a.bottom) >= -1; })"
        )
        assert inside and box["width"] > 300, "letters are cut off"
    for control in page.locator("input, select").all():
        assert control.evaluate("c => c.labels.length === 1 && c.labels[0].innerText.trim().length > 3")
    # WCAG's contrast of the letters: 4.5 and more.
    assert page.evaluate(CONTRAST) >= 4.5


CONTRAST = """() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const colours = ["--ink", "--quiet", "--one", "--two", "--three", "--four"].map(name => {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  });
  const paper = getComputedStyle(document.body).backgroundColor;
  const soft = getComputedStyle(document.querySelector(".controls")).backgroundColor;
  return Math.min(...colours.map(c => ratio(c, paper)), ...colours.slice(0, 2).map(c => ratio(c, soft)));
}"""
