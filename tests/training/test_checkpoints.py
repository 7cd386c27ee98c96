"""A checkpoint is whole or absent: a full disk keeps the one before, and a damaged one is not gone on from."""

import sys

import torch

from stages.training.checkpoints import WholeCheckpoints, last_checkpoint
from tests.support.small_disk import on_a_small_disk

ON_A_FULL_DISK = """
import errno, torch
from stages.training.checkpoints import WholeCheckpoints
io = WholeCheckpoints()
io.save_checkpoint({"epoch": 1, "x": torch.zeros(1000)}, "small/last.ckpt")
try:
    io.save_checkpoint({"epoch": 2, "x": torch.zeros(1000_000)}, "small/last.ckpt")
except OSError as error:
    assert error.errno == errno.ENOSPC
    print(error.filename, io.load_checkpoint("small/last.ckpt", weights_only=True)["epoch"])
"""


def test_a_full_disk_is_named_and_keeps_the_checkpoint_before(tmp_path):
    program = f"{sys.executable} -W ignore -c '{ON_A_FULL_DISK}' && ls small"
    done = on_a_small_disk(tmp_path, "small", "500k", program)
    assert (done.returncode, done.stdout) == (0, "small/last.ckpt 1\nlast.ckpt\n"), done.stderr


def test_training_goes_on_from_a_whole_checkpoint_alone(tmp_path, capsys):
    assert last_checkpoint(tmp_path) is None
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"x": torch.zeros(1000)}, path)
    assert last_checkpoint(tmp_path) == path
    path.write_bytes(path.read_bytes()[:-100])
    assert last_checkpoint(tmp_path) is None
    assert capsys.readouterr().out == f"{path} is damaged and removed; training begins anew\n"
    assert not path.exists()
