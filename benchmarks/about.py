"""The line above every figure: which machine, which torch, when."""

import datetime

import torch

from mmfm.machine import cpu_name, usable_threads


def this_run(precision: str = "fp32") -> str:
    """Machine, threads, precision, versions and date in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    threads = f"{torch.get_num_threads()} of {usable_threads()} threads"
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{device}, {threads}, {precision}, torch {torch.__version__}, {today}"
