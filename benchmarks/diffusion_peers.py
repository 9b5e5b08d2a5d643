"""Digits after equal time: mmfm beside diffusers, torchcfm and lucidrains, each by its own recipe.

    pip install diffusers torchcfm denoising-diffusion-pytorch
    python benchmarks/diffusion_minutes.py --results FOLDER      (ours: medians of three seeds)
    python benchmarks/diffusion_peers.py --results FOLDER [--peers diffusers torchcfm lucidrains]
        [--minutes 5 20] [--data mnist] [--count 5000] [--threads N] [--learn]

What each peer does is in `diffusion_peer_NAME.py`: the network of the installed package, and the
recipe that its authors published. All learn from the same 50,000 pictures. The peers have them in
memory, ready, which is faster than the loaders of their examples. Only learning counts as time:
not imports, not loading, not checkpoints. No peer's recipe knows how long it will run, so the five
minutes are the first five of the twenty.

Then each draws by a fast sampler whose 50 steps ask the network 50 times; where it has two, the one
whose few hundred pictures (--trial) get the lower FID. The pictures are turned into whole bytes and
scored as ours are: by the same ruler, as many, of the same labels where labels are known.

Training and drawing are kept in FOLDER as they go, so it can be stopped at any time; the same
command goes on. Only learning needs a quiet machine: --learn does that and no more, and the command
without it then draws. A peer that is not installed is left out.

    --minutes 0.1 --count 50 --trial 20      only to see that it works
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusion_minutes import digest, median
from diffusion_results import Results, Row, add_options, figures, results_of, second_opinions
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from mmfm.data.draws import key
from mmfm.data.labelled import LabelledPictures
from mmfm.errors import MmfmError
from mmfm.files import whole
from mmfm.tasks.generate import as_bytes
from mmfm.tasks.train_diffusion import DiffusionRecipe, recipe_for

PEERS = ("diffusers", "torchcfm", "lucidrains")
STEPS = 50  # times that the network is asked for a picture
TARGET = 1 / 3  # of the best peer's FID, at most

_SAVE_SECONDS = 60.0  # between checkpoints
_DRAWN_AT_ONCE = 250  # pictures
_NOISE = 5  # the stream of draws that a peer's pictures begin with


class Peer(Protocol):
    """A package that learns from pictures from -1 to 1, and draws such."""

    package: str
    batch: int
    conditional: bool
    samplers: tuple[str, ...]
    parts: dict[str, Any]  # all that has a state

    def learn(self, images: Float[Tensor, "b 1 28 28"], labels: Int64[Tensor, " b"]) -> float: ...

    def draw(
        self, labels: Int64[Tensor, " b"], sampler: str, steps: int
    ) -> Float[Tensor, "b 1 28 28"]: ...


def new_peer(name: str, seed: int) -> Peer:
    """A peer with its first weights."""
    torch.manual_seed(seed)
    if name == "diffusers":
        from diffusion_peer_diffusers import Diffusers

        return Diffusers()
    if name == "torchcfm":
        from diffusion_peer_torchcfm import TorchCFM

        return TorchCFM()
    from diffusion_peer_lucidrains import Lucidrains

    return Lucidrains()


# --- learning -------------------------------------------------------------------------------------


def trained(name: str, folder: Path, pictures: LabelledPictures, minutes: float, seed: int) -> Row:
    """The state of a peer that has learned for so long: as it was kept, or trained now."""
    finished, going = folder / f"{minutes:g}min.pt", folder / "training.pt"
    if finished.is_file():
        return torch.load(finished)
    peer = new_peer(name, seed)
    spent, steps = 0.0, 0
    if going.is_file() and (state := torch.load(going))["seconds"] < 60 * minutes:
        restore(peer, state)
        torch.set_rng_state(state["random"])
        spent, steps = state["seconds"], state["steps"]
    images = rearrange(pictures.images, "n y x c -> n c y x").float() / 127.5 - 1
    batches = _batches(len(images), peer.batch, seed, steps)
    saved = spent
    while spent < 60 * minutes:
        start = time.perf_counter()
        index = next(batches)
        loss = peer.learn(images[index], pictures.labels[index])
        spent += time.perf_counter() - start
        steps += 1
        if spent - saved >= _SAVE_SECONDS:
            _keep(going, peer, spent, steps)
            saved = spent
            pace = f"{steps * peer.batch / spent:.0f} pictures/s"
            print(
                f"{name}: {spent:.0f} of {60 * minutes:.0f} s, {pace}, loss {loss:.3f}", flush=True
            )
    _keep(going, peer, spent, steps)
    return _keep(finished, peer, spent, steps)


def run_folder(results: Results, name: str, seed: int) -> Path:
    """Where a peer's training and drawings lie."""
    return results.folder / f"{name}-seed{seed}"


def restore(peer: Peer, state: Row) -> None:
    """Make a peer what it was."""
    for name, part in peer.parts.items():
        part.load_state_dict(state["parts"][name])


def _keep(path: Path, peer: Peer, seconds: float, steps: int) -> Row:
    state: Row = {
        "seconds": seconds,
        "steps": steps,
        "random": torch.get_rng_state(),
        "parts": {name: part.state_dict() for name, part in peer.parts.items()},
    }
    with whole(path) as file:
        torch.save(state, file)
    return state


def _batches(pictures: int, size: int, seed: int, steps: int) -> Iterator[Int64[Tensor, " b"]]:
    """Whose turn it is from this step on, in an order of which every epoch has its own."""
    an_epoch = pictures // size
    while True:
        epoch, place = divmod(steps, an_epoch)
        random = torch.Generator().manual_seed(key(seed, epoch, 0, stream=_NOISE))
        order = torch.randperm(pictures, generator=random)
        for index in order[: an_epoch * size].split(size)[place:]:
            yield index
            steps += 1


# --- drawing --------------------------------------------------------------------------------------


def drawn(
    name: str, state: Row, labels: Int64[Tensor, " n"], sampler: str, path: Path, seed: int
) -> UInt8[Tensor, "n y x c"]:
    """A picture for each label: those that were kept, and the others drawn now."""
    images = torch.load(path) if path.is_file() else torch.empty(0, 28, 28, 1, dtype=torch.uint8)
    peer = new_peer(name, seed)
    restore(peer, state)
    while len(images) < len(labels):
        some = labels[len(images) :][:_DRAWN_AT_ONCE]
        torch.manual_seed(key(seed, 0, len(images), stream=_NOISE))
        images = torch.cat([images, as_bytes(peer.draw(some, sampler, STEPS))])
        with whole(path) as file:
            torch.save(images, file)
        print(f"{name}: {len(images):,} of {len(labels):,} drawn by {sampler}", flush=True)
    return images


def measured(results: Results, name: str, minutes: float, seed: int, trial: int) -> Row:
    """One peer after so many minutes: what was found of it, or is found now."""
    known: Row = {"tool": name, "minutes": minutes, "seed": seed, "device": "cpu", "trial": trial}
    if found := results.rows(**known):
        return found[-1]
    peer = new_peer(name, seed)  # to learn what it is; those that work are made anew
    yardstick, folder = results.yardstick, run_folder(results, name, seed)
    state = trained(name, folder, yardstick.parts.train, minutes, seed)

    def scored(sampler: str, count: int) -> Any:
        labels = yardstick.real(count).labels
        path = folder / f"{minutes:g}min-{sampler}-{count}.pt"
        images = drawn(name, state, labels, sampler, path, seed)
        return yardstick.measure(images, labels if peer.conditional else None, what=name)

    tried = {}
    if len(peer.samplers) > 1:
        tried = {one: scored(one, trial).readings[0].these.fid for one in peer.samplers}
    best = min(tried, key=tried.__getitem__) if tried else peer.samplers[0]
    return results.keep(
        known,
        scored(best, results.count),
        sampler=f"{best} {STEPS}",
        tried=tried,
        steps=state["steps"],
        seen=state["steps"] * peer.batch,
        seconds=state["seconds"],
        rate=state["steps"] * peer.batch / state["seconds"],
        package=f"{peer.package} {version(peer.package)}",
    )


# --- side by side ---------------------------------------------------------------------------------


def shares(ours: Sequence[Row], theirs: Sequence[Row]) -> list[float]:
    """Our FID beside the best peer's, in the eyes of each ruler that was asked about all."""
    opinions = [(ours, theirs), (second_opinions(ours), second_opinions(theirs))]
    return [
        median(own, "fid") / min(row["fid"] for row in others)
        for own, others in opinions
        if own and others
    ]


def report(minutes: float, ours: Sequence[Row], theirs: Sequence[Row]) -> None:
    """All tools after so many minutes, and whether the promise is kept."""
    print(f"\n{minutes:g} minutes")
    print(f"{'':12} {'pictures/s':>10} {'seen':>10} {'accuracy':>9} {'FID':>8} ", end="")
    print(f"{'ratio':>8} {'second':>8}")
    groups = [("mmfm", ours), *((row["tool"], [row]) for row in theirs)]
    for name, rows in groups:
        if rows:
            accuracy = median(rows, "accuracy")
            named = f"{accuracy:9.2%}" if accuracy == accuracy else f"{'-':>9}"
            drawn_by = rows[0].get("sampler") or f"medians; seeds: {len(rows)}"
            print(
                f"{name:12} {median(rows, 'rate'):10,.0f} {median(rows, 'seen'):10,.0f} {named} "
                f"{median(rows, 'fid'):8.2f} {median(rows, 'ratio'):7.2f}x "
                f"{median(second_opinions(rows), 'ratio'):7.2f}x   {drawn_by}"
            )
    if not ours or not theirs:
        missing = "none of ours" if not ours else "none of the peers'"
        print(f"{missing} in the results, so nothing is compared")
        return
    best = min(theirs, key=lambda row: row["fid"])
    first, *second = shares(ours, theirs)
    other = f", {second[0]:.2f} by the second ruler" if second else ", by one ruler alone"
    kept = "kept" if max([first, *second]) <= TARGET else "MISSED"
    share = f"our FID is {first:.2f} of the best peer's ({best['tool']}){other}"
    print(f"{share}; {kept}: a third at most")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 20.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, default=500, help="pictures that choose the sampler")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--learn", action="store_true", help="learn, and draw another time")
    parser.add_argument("--recipe", help="the recipe of ours that they are compared with")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = results_of(arguments)
    found: dict[float, list[Row]] = {minutes: [] for minutes in sorted(arguments.minutes)}
    for name in arguments.peers:
        try:
            for minutes, rows in found.items():
                if arguments.learn:
                    folder, train = (
                        run_folder(results, name, arguments.seed),
                        results.yardstick.parts.train,
                    )
                    trained(name, folder, train, minutes, arguments.seed)
                    continue
                rows.append(measured(results, name, minutes, arguments.seed, arguments.trial))
                print(f"{name}, {minutes:g} minutes: {figures(rows[-1])}", flush=True)
        except ImportError as error:
            print(f"{name} is left out, {error.name} is not installed", flush=True)
    if arguments.learn:
        return
    recipe = DiffusionRecipe.read(arguments.recipe or recipe_for(arguments.data))
    for minutes, theirs in found.items():
        ours = results.rows(
            tool="mmfm",
            minutes=minutes,
            device="cpu",
            recipe=digest(recipe),
            sampling=asdict(recipe.sampling),
        )
        report(minutes, ours, theirs)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    except MmfmError as error:
        sys.exit(str(error))
