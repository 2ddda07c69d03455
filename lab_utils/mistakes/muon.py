"""Wrong answers to the exercises of notebook 07: the optimizer. Those about QK-clip stand in `qk_clip`."""

import math

import torch

from lab_utils.exercise import mistake
from nanokimi import optim
from nanokimi.optim import FUSED_ROWS, TABLES

# ---------------------------------------------------------------- newton_schulz


def iterate(
    g, steps, dtype, coefficients=(3.4445, -4.7750, 2.0315), norm_over=(-2, -1), least=1e-7, divide=True
):
    """Written out, with the places where a mistake goes."""
    a, b, c = coefficients
    x = g.to(dtype, copy=True)
    if divide:
        x = x / x.norm(dim=norm_over, keepdim=True).clamp(min=least)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@mistake(
    "The matrix is not divided by its norm. Above a singular value of about 1.3 the quintic runs away.",
    "The first step: between which bounds must the singular values lie, and what guarantees it?",
)
def newton_schulz_without_norm(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, divide=False)


@mistake(
    "One norm is taken over the whole bank. Every matrix of it must be divided by its own.",
    "Over which dimensions does your norm run, if `g` has three of them?",
)
def newton_schulz_with_one_norm_for_all(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=tuple(range(g.ndim)))


@mistake(
    "A bank is orthogonalised as one tall matrix. Every leading index is a matrix of its own.",
    "Compare the result for a bank with that for each of its matrices alone.",
)
def newton_schulz_of_the_stack(g, steps=5, dtype=torch.bfloat16):
    return iterate(g.reshape(-1, g.shape[-1]), steps, dtype).reshape(g.shape)


@mistake(
    "Nothing guards against a norm of 0: a matrix without gradient becomes nan.",
    "What does your function return for a matrix of zeros?",
)
def newton_schulz_of_zero_is_nan(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, least=0.0)


@mistake(
    "1e-7 is added to the norm. Published code does that too, and it shows only where a matrix is nearly zero; the "
    "docstring asks for a lower bound instead.",
    "A norm of 1e-9: by which number does your function divide?",
)
def newton_schulz_adding_eps(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype, copy=True)
    return iterate(x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7), steps, dtype, divide=False)


@mistake(
    "This is the textbook's cubic, 1.5·x - 0.5·x³. It converges to 1, but small singular values need many more steps.",
    "How many terms has the polynomial of the docstring?",
)
def newton_schulz_cubic(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(1.5, -0.5, 0.0))


@mistake(
    "The coefficients b and c stand in each other's place.",
    "Which coefficient belongs to the third power, and which to the fifth?",
)
def newton_schulz_with_b_and_c_exchanged(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, 2.0315, -4.7750))


@mistake(
    "The gram matrix is not squared: c multiplies x·xᵀ instead of (x·xᵀ)².",
    "The last term must be of the fifth power of x. Of which power is yours?",
)
def newton_schulz_without_the_square(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, -4.7750 + 2.0315, 0.0))


@mistake(
    "`steps` is not used: your function always takes five.",
    "Follow the argument `steps` through your code.",
)
def newton_schulz_always_five_steps(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, 5, dtype)


@mistake(
    "This is the exact U·Vᵀ, by a singular value decomposition. Asked for are the products that come near it.",
    "Which singular values has your result, and which has the quintic's after five steps?",
)
def newton_schulz_by_svd(g, steps=5, dtype=torch.bfloat16):
    u, s, vt = torch.linalg.svd(g.to(torch.promote_types(dtype, torch.float32)), full_matrices=False)
    return (u * (s > 0)[..., None, :] @ vt).to(dtype)


NEWTON_SCHULZ = (
    newton_schulz_without_norm,
    newton_schulz_with_one_norm_for_all,
    newton_schulz_of_the_stack,
    newton_schulz_of_zero_is_nan,
    newton_schulz_adding_eps,
    newton_schulz_cubic,
    newton_schulz_with_b_and_c_exchanged,
    newton_schulz_without_the_square,
    newton_schulz_always_five_steps,
    newton_schulz_by_svd,
)

# ---------------------------------------------------------------- Muon


class MuonByParameter(torch.optim.Optimizer):
    """Muon one parameter at a time, as a learner writes it, with the places where a mistake goes."""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        defaults = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, ns_steps=ns_steps, fused_rows=1)
        super().__init__(groups, defaults)
        self.ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    self.change(p, buffer, group)

    def change(self, p, buffer, group):
        matrices = self.matrices(self.momentum(p.grad, buffer, group["momentum"]), group)
        update = self.orthogonal(matrices, group) * self.scale(matrices)
        self.apply(p, update.reshape(p.shape), group)

    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad.lerp(buffer, mu)

    def matrices(self, update, group):
        return update.unflatten(-2, (group["fused_rows"], -1))

    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, group["ns_steps"], self.ns_dtype).to(matrices.dtype)

    def scale(self, matrices):
        return 0.2 * math.sqrt(max(matrices.shape[-2:]))

    def apply(self, p, update, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(update, alpha=group["lr"])


@mistake(
    "The momentum itself is orthogonalised: Nesterov's look ahead, which mixes the gradient in once more, is missing.",
    "What goes into Newton-Schulz: the buffer, or something between the gradient and the buffer?",
)
class MuonWithoutNesterov(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        return buffer.lerp_(grad, 1 - mu).clone()


@mistake(
    "The two weights of the momentum are exchanged: the buffer forgets 95 % at every step.",
    "With mu = 0.95, which share of the old buffer is left after a step?",
)
class MuonThatForgets(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, mu)
        return grad.lerp(buffer, mu)


@mistake(
    "The gradient enters the buffer with weight 1-mu, but the update with weight 1: nearly all of the update is then "
    "the newest gradient.",
    "Write both lines as averages. What do the two weights of each sum to?",
)
class MuonWithTheWholeGradient(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad + mu * buffer


@mistake(
    "The gradient is orthogonalised first and the momentum taken afterwards. An average of orthogonal matrices is not "
    "orthogonal.",
    "Which singular values has the matrix that you subtract, from the second step on?",
)
class MuonWithMomentumLast(MuonByParameter):
    def change(self, p, buffer, group):
        matrices = self.matrices(p.grad, group)
        flat = self.orthogonal(matrices, group).reshape(p.shape)
        self.apply(p, self.momentum(flat, buffer, group["momentum"]) * self.scale(matrices), group)


@mistake(
    "A bank of experts is orthogonalised as one tall matrix. Every expert is a matrix of its own.",
    "For a parameter of three dimensions: how many matrices does your Newton-Schulz get?",
)
class MuonOfTheStack(MuonByParameter):
    def orthogonal(self, matrices, group):
        flat = matrices.transpose(0, -3).reshape(matrices.shape[-3], -1, matrices.shape[-1])
        if matrices.ndim == 3:
            flat = matrices
        out = super().orthogonal(flat, group)
        if matrices.ndim == 3:
            return out
        return out.unflatten(1, (matrices.shape[0], matrices.shape[-2])).transpose(0, 1)


@mistake(
    "Gate and up are orthogonalised together, as one matrix: `fused_rows` is not used.",
    "A group says in `fused_rows` how many matrices lie in the rows of its parameters. Do you read it?",
)
class MuonOfFusedMatrices(MuonByParameter):
    def matrices(self, update, group):
        return update


@mistake(
    "The scale is taken from the whole parameter. It belongs to the matrix that was orthogonalised, "
    "of which the parameter may hold several.",
    "Gate and up in one parameter: which height has the matrix that Newton-Schulz got?",
)
class MuonScaledByTheParameter(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(max(matrices.shape[-3] * matrices.shape[-2], matrices.shape[-1]))


@mistake(
    "The scale takes the shorter side. The root mean square of an orthogonal matrix falls with the longer one.",
    "Measure the root mean square of an orthogonal matrix of 4 x 100.",
)
class MuonScaledByTheShorterSide(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(min(matrices.shape[-2:]))


@mistake(
    "The update is not scaled: 0.2·sqrt(max(rows, cols)) is missing.",
    "Which root mean square has the update of a large matrix, and which would AdamW's have?",
)
class MuonWithoutScale(MuonByParameter):
    def scale(self, matrices):
        return 1.0


@mistake(
    "The weight decay is added to the gradient, where Newton-Schulz takes its size away. It must shrink the weights "
    "directly.",
    "What is left of the decay after the orthogonalisation?",
)
class MuonWithDecayInTheGradient(MuonByParameter):
    def change(self, p, buffer, group):
        mixed = p.grad + group["weight_decay"] * p
        matrices = self.matrices(self.momentum(mixed, buffer, group["momentum"]), group)
        update = self.orthogonal(matrices, group) * self.scale(matrices)
        p.sub_(update.reshape(p.shape), alpha=group["lr"])


@mistake(
    "The weights do not decay.",
    "Which entry of the group do you never read?",
)
class MuonWithoutDecay(MuonByParameter):
    def apply(self, p, update, group):
        p.sub_(update, alpha=group["lr"])


@mistake(
    "The decay is multiplied by the scale of the update too. It goes with the learning rate alone.",
    "By which factor do the weights shrink in a step whose gradient is zero?",
)
class MuonWithScaledDecay(MuonByParameter):
    def change(self, p, buffer, group):
        matrices = self.matrices(self.momentum(p.grad, buffer, group["momentum"]), group)
        scale = self.scale(matrices)
        p.mul_(1 - group["lr"] * scale * group["weight_decay"])
        p.sub_(self.orthogonal(matrices, group).reshape(p.shape), alpha=group["lr"] * scale)


@mistake(
    "The learning rate is the one of the beginning. A schedule writes a new one into the group before every step.",
    "Where does the rate stand that a schedule changes?",
)
class MuonWithAFixedRate(MuonByParameter):
    def apply(self, p, update, group):
        super().apply(p, update, group | {"lr": self.defaults["lr"]})


MUON = (
    MuonWithoutNesterov,
    MuonThatForgets,
    MuonWithTheWholeGradient,
    MuonWithMomentumLast,
    MuonOfTheStack,
    MuonOfFusedMatrices,
    MuonScaledByTheParameter,
    MuonScaledByTheShorterSide,
    MuonWithoutScale,
    MuonWithDecayInTheGradient,
    MuonWithoutDecay,
    MuonWithScaledDecay,
    MuonWithAFixedRate,
)

# ---------------------------------------------------------------- build_optimizers


def grouped(
    model, cfg, is_table=None, is_free=lambda name, p: p.ndim < 2, fused=FUSED_ROWS, decay_free=0.0, **muon
):
    """Written out, with the places where a mistake goes."""
    is_table = is_table or (lambda name, p: bool(set(name.split(".")) & set(TABLES)))
    parts: dict[int, list] = {}
    decayed, free = [], []
    for name, p in model.named_parameters():
        if is_free(name, p):
            free.append(p)
        elif cfg.optimizer == "muon" and not is_table(name, p):
            n = next((fused[part] for part in name.split(".") if part in fused), 1)
            parts.setdefault(n, []).append(p)
        else:
            decayed.append(p)
    found = []
    if parts:
        settings = dict(
            lr=cfg.lr,
            weight_decay=cfg.weight_decay,
            momentum=cfg.muon_momentum,
            ns_steps=cfg.ns_steps,
            ns_dtype=torch.float32,
        )
        groups = [{"params": params, "fused_rows": n} for n, params in parts.items()]
        found.append(optim.Muon(groups, **settings | muon))
    groups = [{"params": decayed}, {"params": free, "weight_decay": decay_free}]
    groups = [g for g in groups if g["params"]]
    betas = (cfg.beta1, cfg.beta2)
    return [*found, torch.optim.AdamW(groups, lr=cfg.lr, betas=betas, weight_decay=cfg.weight_decay)]


@mistake(
    "Muon takes the embeddings and the head too. They are tables: a row is used by itself, and AdamW takes them.",
    "Which matrices does the docstring leave out?",
)
def optimizers_with_tables_under_muon(model, cfg):
    return grouped(model, cfg, is_table=lambda name, p: False)


@mistake(
    "The head is under Muon. It is a table as the embedding is, a row for every token.",
    "TABLES holds more than the embeddings.",
)
def optimizers_with_the_head_under_muon(model, cfg):
    return grouped(model, cfg, is_table=lambda name, p: "embed" in name or "latents" in name)


@mistake(
    "Only parameters of two dimensions are taken for matrices, so AdamW gets the banks of experts: "
    "most of the model.",
    "Which shape has the bank of E experts?",
)
def optimizers_with_banks_under_adamw(model, cfg):
    tables = set(TABLES)
    return grouped(model, cfg, is_table=lambda name, p: p.ndim > 2 or bool(set(name.split(".")) & tables))


@mistake(
    "Norms and biases decay. A gain of 1 that is pulled to 0 switches its channel off.",
    "Which weight decay has the group of the parameters of one dimension?",
)
def optimizers_that_decay_norms(model, cfg):
    return grouped(model, cfg, decay_free=cfg.weight_decay)


@mistake(
    "Fused matrices are not told apart: no group has `fused_rows` above 1.",
    "gate_up_proj holds two matrices in its rows, qkv_proj three. Who tells Muon?",
)
def optimizers_without_fused_rows(model, cfg):
    return grouped(model, cfg, fused={})


@mistake(
    "Gate and up are told apart, but query, key and value are not.",
    "Look through FUSED_ROWS: which names does it hold?",
)
def optimizers_without_fused_qkv(model, cfg):
    return grouped(model, cfg, fused={"gate_up_proj": 2})


@mistake(
    "`cfg.optimizer` is not read: Muon is used where AdamW alone was asked for.",
    "What should come back for OptimConfig(optimizer='adamw')?",
)
def optimizers_always_with_muon(model, cfg):
    class Always:
        optimizer = "muon"

        def __getattr__(self, name):
            return getattr(cfg, name)

    return grouped(model, Always())


@mistake(
    "Muon's own defaults are used where the configuration says otherwise (momentum, number of steps).",
    "Which fields of OptimConfig do you never read?",
)
def optimizers_with_defaults(model, cfg):
    return grouped(model, cfg, momentum=0.95, ns_steps=5)


@mistake(
    "Some parameters are in no optimizer: the norms and biases. They would never learn.",
    "Count the parameters of all groups together, and those of the model.",
)
def optimizers_that_forget_norms(model, cfg):
    found = grouped(model, cfg)
    found[-1].param_groups[:] = [g for g in found[-1].param_groups if g["params"][0].ndim > 1]
    return found


BUILD_OPTIMIZERS = (
    optimizers_with_tables_under_muon,
    optimizers_with_the_head_under_muon,
    optimizers_with_banks_under_adamw,
    optimizers_that_decay_norms,
    optimizers_without_fused_rows,
    optimizers_without_fused_qkv,
    optimizers_always_with_muon,
    optimizers_with_defaults,
    optimizers_that_forget_norms,
)

# ---------------------------------------------------------------- lr_at


def rate(
    step,
    cfg,
    warm=lambda step, cfg: (step + 1) / cfg.warmup_steps,
    shape=lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    floor=None,
    begin=None,
    last=None,
    wsd_begin=None,
):
    """Written out, with the places where a mistake goes."""
    peak = cfg.optim.lr
    floor = peak * cfg.min_lr_ratio if floor is None else floor
    last = cfg.steps - 1 if last is None else last
    if step < cfg.warmup_steps:
        return peak * warm(step, cfg)
    if cfg.schedule == "cosine":
        begin = cfg.warmup_steps if begin is None else begin
        return floor + (peak - floor) * shape((step - begin) / max(1, last - begin))
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    begin = last - n if wsd_begin is None else wsd_begin
    return peak + (floor - peak) * max(0, step - begin) / max(1, last - begin)


@mistake(
    "The warm-up starts at 0: the first step is wasted, and the peak comes a step late.",
    "Which rate should step 0 have with a warm-up of two steps? Of one?",
)
def lr_from_zero(step, cfg):
    return rate(step, cfg, warm=lambda step, cfg: step / cfg.warmup_steps)


@mistake(
    "There is no warm-up.",
    "Which field of the configuration do you never read?",
)
def lr_without_warmup(step, cfg):
    return rate(step, cfg, warm=lambda step, cfg: 1.0)


@mistake(
    "The cosine begins at step 0, under the warm-up. It should begin where the warm-up ends.",
    "Which rate should the first step after the warm-up have?",
)
def lr_with_cosine_from_the_start(step, cfg):
    return rate(step, cfg, begin=0)


@mistake(
    "The schedule ends one step too late: the last step is number steps-1, and there the floor must be reached.",
    "Steps count from 0. Which number has the last one?",
)
def lr_that_ends_a_step_late(step, cfg):
    return rate(step, cfg, last=cfg.steps)


@mistake(
    "The floor is 0: `min_lr_ratio` is not used.",
    "Which rate should the last step have?",
)
def lr_down_to_zero(step, cfg):
    return rate(step, cfg, floor=0.0)


@mistake(
    "`min_lr_ratio` is taken for the floor itself. It is a share of the peak.",
    "A ratio of 0.1 and a peak of 0.02: what is the floor?",
)
def lr_with_an_absolute_floor(step, cfg):
    return rate(step, cfg, floor=cfg.min_lr_ratio)


@mistake(
    "The cosine schedule falls in a straight line.",
    "Half of the way is right in both. And a quarter?",
)
def lr_linear(step, cfg):
    return rate(step, cfg, shape=lambda x: 1 - x)


@mistake(
    "This is a quarter of a cosine, cos(pi/2·x): it arrives at the floor with full slope.",
    "Which value has the cosine half of the way down?",
)
def lr_quarter_cosine(step, cfg):
    return rate(step, cfg, shape=lambda x: math.cos(math.pi / 2 * x))


@mistake(
    "The wsd schedule decays from the end of the warm-up on: nothing is stable.",
    "wsd is warm-up, stable, decay. How long is the last part?",
)
def lr_without_a_stable_part(step, cfg):
    return rate(step, cfg, wsd_begin=cfg.warmup_steps)


LR_AT = (
    lr_from_zero,
    lr_without_warmup,
    lr_with_cosine_from_the_start,
    lr_that_ends_a_step_late,
    lr_down_to_zero,
    lr_with_an_absolute_floor,
    lr_linear,
    lr_quarter_cosine,
    lr_without_a_stable_part,
)
