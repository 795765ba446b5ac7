"""Losses: closed forms, laws, and TRL as the oracle."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from etl.align import losses

logps = st.floats(-50, -0.01)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equal_logits_give_the_log_of_the_vocabulary() -> None:
    labels = torch.tensor([[5, 1, 2, losses.IGNORED]])
    found = losses.token_logps(torch.zeros(1, 4, 7), labels)
    assert found.tolist() == [[pytest.approx(-math.log(7)), pytest.approx(-math.log(7)), 0.0]]


def test_each_token_is_predicted_from_those_before_it() -> None:
    logits = torch.full((1, 3, 4), -100.0)
    logits[0, 0, 2] = logits[0, 1, 3] = 100.0
    sums, counts = losses.sequence_logps(logits, torch.tensor([[0, 2, 3]]))
    assert (sums.item(), counts.item()) == (pytest.approx(0.0, abs=1e-6), 2)


def test_log_probabilities_are_those_of_transformers(loaded: Any) -> None:
    """Oracle: the model's own loss is the mean over labels of the negative log-probability."""
    ids = torch.randint(0, 300, (2, 20), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :7] = losses.IGNORED
    with torch.no_grad():
        out = loaded.model(input_ids=ids, labels=labels)
    sums, counts = losses.sequence_logps(out.logits, labels)
    assert (-sums.sum() / counts.sum()).item() == pytest.approx(out.loss.item(), rel=1e-5)


@given(logps, logps, logps, logps, st.floats(0.01, 5))
def test_dpo_is_the_log_loss_of_a_logistic_model(
    chosen: float, rejected: float, reference_chosen: float, reference_rejected: float, beta: float
) -> None:
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    found = losses.dpo(
        tensor(chosen), tensor(rejected), tensor(reference_chosen), tensor(reference_rejected), beta=beta
    )
    assert found.item() == pytest.approx(math.log1p(math.exp(-abs(margin))) + max(0.0, -margin), abs=1e-9)


@given(logps, logps, st.floats(0, 0.5))
def test_dpo_of_the_reference_itself_is_log_two(chosen: float, rejected: float, smoothing: float) -> None:
    pair = (tensor(chosen), tensor(rejected))
    found = losses.dpo(*pair, *pair, beta=0.3, label_smoothing=smoothing)
    assert found.item() == pytest.approx(math.log(2))


@given(logps, logps, st.floats(0.1, 3), st.floats(0, 2))
def test_simpo_at_its_margin_is_log_two(chosen: float, rejected: float, beta: float, gamma: float) -> None:
    at_margin = losses.simpo(tensor(rejected + gamma / beta), tensor(rejected), beta=beta, gamma=gamma)
    assert at_margin.item() == pytest.approx(math.log(2))
    less, more = (losses.simpo(tensor(c), tensor(rejected), beta=beta, gamma=gamma) for c in (chosen, chosen + 1))
    assert more.item() < less.item()


@given(logps, logps)
def test_orpo_is_the_log_loss_of_the_odds(chosen: float, rejected: float) -> None:
    odds = [math.exp(p) / (1 - math.exp(p)) for p in (chosen, rejected)]
    found = losses.orpo(tensor(chosen), tensor(rejected), weight=0.1)
    assert found.item() == pytest.approx(0.1 * math.log1p(odds[1] / odds[0]), rel=1e-6)


def test_orpo_is_finite_where_an_answer_is_certain() -> None:
    assert torch.isfinite(losses.orpo(torch.tensor([0.0]), torch.tensor([-1.0]), weight=1.0)).all()


# TRL 1.16 is the oracle; SimPO and ORPO are in its experimental part, which may vanish in any release.


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    values = -torch.rand(2, 64, generator=torch.Generator().manual_seed(seed)) * 3 - 0.01
    return values[0], values[1]


def test_simpo_agrees_with_trl() -> None:
    cpo = pytest.importorskip("trl.experimental.cpo.cpo_trainer")
    chosen, rejected = drawn(1)
    settings = SimpleNamespace(
        alpha=0.0, loss_type="simpo", simpo_gamma=0.7, beta=2.0, label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    wanted = cpo.CPOTrainer.cpo_loss(settings, chosen, rejected)[0]
    assert torch.allclose(losses.simpo(chosen, rejected, beta=2.0, gamma=0.7), wanted, atol=1e-6)


def test_orpo_agrees_with_trl() -> None:
    orpo = pytest.importorskip("trl.experimental.orpo.orpo_trainer")
    chosen, rejected = drawn(2)
    settings = SimpleNamespace(beta=0.1, accelerator=SimpleNamespace(device="cpu"))
    wanted = orpo.ORPOTrainer.odds_ratio_loss(settings, chosen, rejected)[0]
    assert torch.allclose(losses.orpo(chosen, rejected, weight=0.1), -wanted, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_dpo_agrees_with_trl_on_a_batch_of_real_answers(loaded: Any, tmp_path: Any) -> None:
    """Whole: text to tokens to log-probabilities to loss, with another model as the reference."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from etl.align import chat, methods, models
    from etl.align.data import _learn
    from tests.align import tiny

    reference = models.build(tiny.ARCHITECTURE, loaded.tokenizer, seed=2).eval()
    rows = [
        ([{"role": "user", "content": "What is two plus three?"}], "It is five.", "It is cold in winter."),
        ([{"role": "user", "content": "Where?"}], "In the lake, in the order of its key.", "No."),
    ]
    pairs = [
        {"prompt": prompt, "chosen": [{"role": "assistant", "content": good}],
         "rejected": [{"role": "assistant", "content": bad}]}
        for prompt, good, bad in rows
    ]  # fmt: skip
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path), beta=0.3, bf16=False, use_cpu=True, report_to=[], per_device_train_batch_size=2,
        disable_dropout=True,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=loaded.model, ref_model=reference, args=arguments, processing_class=loaded.tokenizer,
        train_dataset=datasets.Dataset.from_list(pairs),
    )  # fmt: skip
    items = []
    for pair in pairs:
        item: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            encoded = chat.encode(loaded.tokenizer, [*pair["prompt"], *pair[side]])
            found = _learn(encoded, len(encoded.ids))
            assert found is not None
            item |= {f"{side}_{key}": value for key, value in found.items()}
        items.append({**item, "reference": [0.0, 0.0]})
    part = methods.METHODS["dpo"].collate(items, loaded.tokenizer.pad_token_id)
    # TRL's own masks take in the line break after an answer's end mark as well, so it is given ours.
    given = {"input_ids": part["ids"], "attention_mask": part["attention"]}
    given["completion_mask"] = (part["labels"] != losses.IGNORED).long()
    wanted = trainer._compute_loss(loaded.model, given, return_outputs=False).item()
    with torch.no_grad():
        sums, _ = losses.sequence_logps(methods.logits(reference, part), part["labels"])
        part["reference"] = torch.stack(sums.chunk(2), dim=1)
        settings = SimpleNamespace(method="dpo", preference=SimpleNamespace(beta=0.3, label_smoothing=0.0))
        ours = methods.METHODS["dpo"].loss(loaded.model, part, settings)["loss"].item() / 2  # type: ignore[arg-type]
    assert ours == pytest.approx(wanted, abs=1e-5)
