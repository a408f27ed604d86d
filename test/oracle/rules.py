"""FORMAT.md section 5: which tensors are split, and why the others are not. Rules in their order, one function each."""

import fnmatch
import math
import re
from dataclasses import dataclass, field

import overlay

LEAVES = set(
    "q_proj k_proj v_proj o_proj qkv_proj gate_proj up_proj down_proj gate_up_proj w1 w2 w3 fc1 fc2 out_proj "
    "query key value q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj".split()
)
OTHER_MODALITIES = set(
    "vision_tower vision_model visual multi_modal_projector mm_projector audio_tower".split()
)
# Parents under which a linear-looking leaf is surely not split, and words in a parent that leave it open.
NEVER_PARENTS = {"classifier", "lm_head", "router"}
OPEN_PARENT = re.compile(r"embed|norm|router|gate$|classif|head|score|conv")
FUSED = ["q_proj k_proj v_proj", "gate_proj up_proj", "w1 w3", "query key value", "q_a_proj kv_a_proj_with_mqa"]
FUSED += ["in_proj_qkv in_proj_z", "in_proj_b in_proj_a"]
GROUP_OF_LEAF = {leaf: group for group in FUSED for leaf in group.split()}
EXPERT = re.compile(r"(.*(?:^|\.)experts)\.\d+\.(?:gate_proj|up_proj|down_proj|w1|w2|w3)\.weight", re.S)
NOT_COVERED = {"not_linear", "excluded"}


@dataclass
class Options:
    row_shift: bool = True
    bf16: str = "patch"
    max_patches: float = 0.05
    allow_lossy: bool = False
    exclude: list = field(default_factory=list)
    include: list = field(default_factory=list)


@dataclass
class Verdict:
    reason: str = None  # None: split
    encoded: overlay.Encoded = None
    lossy: bool = False  # split without a patch list although words may be lost


def module_of(name):
    return name.rpartition(".")[0]


def matches(patterns, name):
    """A pattern may mean the tensor or its module; FORMAT.md does not say, so both do."""
    for pattern in patterns:
        for candidate in (name, module_of(name)):
            if pattern.startswith("re:"):
                if re.search(pattern[3:], candidate):
                    return True
            elif fnmatch.fnmatchcase(candidate, pattern):
                return True
    return False


def is_rank2_weight(tensor):
    return tensor.name.endswith(".weight") and len(tensor.shape) == 2


def is_fused_experts(tensor):
    return len(tensor.shape) == 3 and ".experts." in tensor.name


def dense_is_linear(parents):
    """`dense` counts only under attention or mlp; parents such as self_attn are left open."""
    if "attention" in parents or "mlp" in parents:
        return True
    return None if re.search("attn|attention|mlp", ".".join(parents)) else False


def is_linear(tensor, options):
    """True, False, or None where FORMAT.md leaves it open."""
    if not is_rank2_weight(tensor) or 0 in tensor.shape:
        return False
    if matches(options.include, tensor.name):
        return True
    *parents, leaf = module_of(tensor.name).split(".")
    if OTHER_MODALITIES & set(parents) or NEVER_PARENTS & set(parents):
        return False
    if leaf == "dense":
        named = dense_is_linear(parents)
    else:
        named = leaf in LEAVES or leaf.startswith("in_proj_")
    return None if named and any(map(OPEN_PARENT.search, parents)) else named


def own_reason(tensor, options, claimed):
    """Rules 1 to 9 for one tensor; `claimed` is what the manifest says, believed only where the rule is open."""
    if is_fused_experts(tensor):
        return Verdict("unsupported_rank")
    linear = is_linear(tensor, options)
    if linear is None:
        linear = claimed != "not_linear"
    if not linear:
        return Verdict("not_linear")
    if matches(options.exclude, tensor.name):
        return Verdict("excluded")
    if tensor.dtype not in ("F16", "BF16") and not (tensor.dtype == "F32" and options.allow_lossy):
        return Verdict("dtype")
    return reason_by_content(tensor, options)


def reason_by_content(tensor, options):
    """Rules 5 to 9, which look at the words."""
    (rows, cols), dtype = tensor.shape, tensor.dtype
    if not math.isfinite(overlay.max_abs(dtype, tensor.data)):
        return Verdict("nonfinite")
    shifts = overlay.row_shifts(dtype, tensor.data, rows, cols)
    if max(shifts) > (overlay.MAX_SHIFT if options.row_shift else 0):
        return Verdict("range")
    if rows % 16 or cols % 16:
        return Verdict("alignment")
    encoded = overlay.encode(dtype, tensor.data, rows, cols, shifts)
    if dtype == "BF16" and options.bf16 == "keep" and encoded.inexact:
        return Verdict("bf16_inexact")
    lossy = dtype == "F32" or (dtype == "BF16" and options.bf16 == "lossy")
    if not lossy and encoded.inexact > options.max_patches * rows * cols:
        return Verdict("patches")
    return Verdict(None, encoded, lossy)


def group_key(name):
    """Fusion group of a weight, or None."""
    if not name.endswith(".weight"):
        return None
    expert = EXPERT.fullmatch(name)
    if expert:
        return expert[1]
    parent, _, leaf = module_of(name).rpartition(".")
    return (parent, GROUP_OF_LEAF[leaf]) if leaf in GROUP_OF_LEAF else None


def plan(tensors, options, claimed):
    """name -> Verdict for all tensors of the model; `claimed`: name -> reason in the manifest."""
    verdicts = {t.name: own_reason(t, options, claimed.get(t.name)) for t in tensors}
    broken = {group_key(name) for name, v in verdicts.items() if v.reason} - {None}
    for name, verdict in verdicts.items():
        if verdict.reason is None and group_key(name) in broken:
            verdict.reason = "group"
    return verdicts


def coverage(tensors, verdicts):
    """Words split over words that could have been; None when there are none."""
    eligible = [t for t in tensors if verdicts[t.name].reason not in NOT_COVERED]
    total = sum(t.words for t in eligible)
    return sum(t.words for t in eligible if verdicts[t.name].reason is None) / total if total else None


def ignore_list(tensors, verdicts):
    """Section 6: modules that stay 16-bit."""
    modules = {"lm_head"}
    for tensor in tensors:
        kept_weight = is_rank2_weight(tensor) and verdicts[tensor.name].reason is not None
        if kept_weight or is_fused_experts(tensor):
            modules.add(module_of(tensor.name))
    return sorted(modules, key=lambda m: m.encode("utf-8"))
