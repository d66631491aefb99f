"""Test the slots of a search: how many trials fit on the nodes, and the resources of each trial."""

import math

import pytest

from model.errors import InputError
from search.tune.slots import Slots, choose_slots
from trainers.devices import CONTEXT_BYTES, tensor_memory_share

LAPTOP, TWO_GPUS, HEAD = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 0.0}


@pytest.mark.parametrize(
    ("nodes", "concurrency", "cpus", "gpus", "slots"),
    [
        ([LAPTOP], None, 1, None, Slots(8, 1, 0)),
        ([LAPTOP], 3, 1, None, Slots(3, 1, 0)),
        ([LAPTOP], None, 3, None, Slots(2, 3, 0)),
        ([LAPTOP], None, 0.5, 0, Slots(16, 0.5, 0)),
        ([LAPTOP, LAPTOP], None, 5, None, Slots(2, 5, 0)),
        ([HEAD, TWO_GPUS], None, 1, None, Slots(2, 1, 1)),
        ([LAPTOP, TWO_GPUS], None, 1, 0, Slots(16, 1, 0)),
        ([TWO_GPUS], None, 1, 0.25, Slots(8, 1, 0.25)),
        ([TWO_GPUS], None, 4, 0.25, Slots(2, 4, 0.25)),
        ([TWO_GPUS, TWO_GPUS], 2, 1, 1, Slots(2, 1, 1)),
        ([TWO_GPUS], None, 1, 0.33, Slots(6, 1, 1 / 3)),
        ([{"CPU": 99.0, "GPU": 8.0}], None, 1, 0.19, Slots(40, 1, 0.2)),
        ([{"CPU": 99.0, "GPU": 1.0}], None, 1, 1 / 49, Slots(49, 1, 1 / 49)),
    ],
)
def test_as_many_trials_run_at_once_as_requested_or_as_fit(nodes, concurrency, cpus, gpus, slots):
    assert choose_slots(nodes, concurrency, cpus, gpus) == slots


@pytest.mark.parametrize(
    ("nodes", "concurrency", "cpus", "gpus", "message"),
    [
        ([LAPTOP], None, 9, None, "A trial of 9 CPUs and 0 GPUs fits on no node; the largest has 8 CPUs and 0 GPUs."),
        ([LAPTOP], None, 1, 1, "A trial of 1 CPUs and 1 GPUs fits on no node; the largest has 8 CPUs and 0 GPUs."),
        ([TWO_GPUS], None, 9, 1, "A trial of 9 CPUs and 1 GPUs fits on no node; the largest has 8 CPUs and 2 GPUs."),
        ([HEAD], None, 1, None, "fits on no node"),
        (
            [TWO_GPUS],
            None,
            1,
            2,
            "--gpus-per-trial 2: a trial trains on one GPU, so the others would stay unused. Pass 1, or a share of one",
        ),
        ([TWO_GPUS], None, 1, 1.5, "--gpus-per-trial 1.5: a trial trains on one GPU"),
        ([LAPTOP], None, 1, math.inf, "--gpus-per-trial inf: a trial trains on one GPU"),
        ([LAPTOP], None, 1, 8, "--gpus-per-trial 8: a trial trains on one GPU"),
        (
            [LAPTOP],
            None,
            1.5,
            None,
            "--cpus-per-trial 1.5: a trial has one thread per CPU, so a part of a CPU would stay unused. Pass 1 or 2, ",
        ),
        ([LAPTOP], None, math.inf, None, "A trial of inf CPUs and 0 GPUs fits on no node"),
        ([LAPTOP], None, math.nan, None, "--cpus-per-trial nan is no positive number"),
        ([LAPTOP], None, 1, math.nan, "--gpus-per-trial nan is no number"),
        (
            [TWO_GPUS],
            None,
            1,
            0.4,
            "--gpus-per-trial 0.4: as many trials as fit would leave a part of each GPU unused.",
        ),
        (
            [TWO_GPUS],
            None,
            1,
            1e-310,
            "--gpus-per-trial 1e-310: the smallest share of a GPU is 0.01. Pass a larger one.",
        ),
        ([TWO_GPUS], None, 1, 0.7, "Pass 1, or 0.5 for one more trial per GPU."),
        ([LAPTOP, TWO_GPUS], 3, 1, None, "--concurrency 3: only 2 trials of 1 CPUs and 1 GPUs fit at once. Lower"),
    ],
)
def test_resources_that_do_not_fit_the_nodes_are_an_error(nodes, concurrency, cpus, gpus, message):
    with pytest.raises(InputError) as raised:
        choose_slots(nodes, concurrency, cpus, gpus)
    assert message in str(raised.value)


def test_a_trial_has_one_thread_per_cpu_and_at_least_one():
    assert [Slots(1, cpus, 0).threads for cpus in (0.5, 1, 4)] == [1, 1, 4]
    assert (Slots(1, 1, 0).device, Slots(1, 1, 0.5).device) == ("cpu", "cuda")


def test_trials_that_share_a_gpu_share_the_memory_that_cuda_contexts_leave():
    assert [Slots(1, 1, gpus).memory for gpus in (0, 0.25, 0.5, 1)] == [None, 0.25, 0.5, None]
    gib = 2**30
    assert tensor_memory_share(0.25, 80 * gib) * 80 == pytest.approx(19)
    for neighbours in (2, 3, 8):
        taken = neighbours * (tensor_memory_share(1 / neighbours, 16 * gib) * 16 * gib + CONTEXT_BYTES)
        assert taken == pytest.approx(16 * gib)
    assert tensor_memory_share(1 / 16, 8 * gib) == 0, "nothing is left for the trial"
