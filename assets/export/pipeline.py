"""Pictures out of noise, as mmfm draws them, for diffusers: nothing of mmfm is needed.

The same noise gives the same pictures as `mmfm sample` does. The denoiser is either a network of
mmfm's own (`denoiser/network.py`), whose schedule has a name, or a `UNet2DModel` that is told what
to draw, whose schedule are the betas of the scheduler beside it.

Time runs from 1, noise alone, to 0, the picture. At a time, x = alpha * picture + sigma * noise.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

USUAL = {"sampler": "euler", "steps": 16, "guidance": 1.0, "interval": [0, 1], "rescale": 0.0}
OBJECTIVES = {"epsilon": "noise", "sample": "clean", "v_prediction": "velocity"}


class DenoiserPipeline(DiffusionPipeline):
    """A denoiser, the names of what it draws, and how it samples best."""

    _optional_components: ClassVar[list[str]] = ["scheduler"]
    model_cpu_offload_seq = "denoiser"

    def __init__(
        self,
        denoiser: nn.Module,
        scheduler: SchedulerMixin | None = None,
        id2label: dict | None = None,
        sampling: dict | None = None,
        clip: float | None = None,
        guidable: bool = True,
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)
        self.register_to_config(id2label=id2label, sampling=sampling, clip=clip, guidable=guidable)
        table = id2label or {}
        self.labels = [table[str(number)] for number in range(len(table))]
        if scheduler is None:
            c = denoiser.config.settings
            self.classes = c["classes"]
            self.null = self.classes if guidable else None
            self.shape = c["channels"], c["image_size"], c["image_size"]
            self.objective, self.jumps = c["objective"], c["jumps"]
            self.kept, self.level = None, SCHEDULES[c["schedule"]]
        else:
            c = denoiser.config
            told = c.num_class_embeds or 0
            # One class more than there are labels is that of pictures without one.
            self.null = len(table) if 0 < len(table) < told else None
            self.classes = told if self.null is None else self.null
            size = c.sample_size
            self.shape = c.in_channels, *((size, size) if isinstance(size, int) else size)
            self.objective, self.jumps = OBJECTIVES[scheduler.config.prediction_type], "none"
            self.kept = torch.cat([torch.ones(1).double(), scheduler.alphas_cumprod.double()])
            self.level = partial(counted, self.kept)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[str | int] | str | int | None = None,
        batch_size: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        generator: torch.Generator | None = None,
        noise: Tensor | Sequence[Tensor] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple:
        """Draw a picture of each label, by name or number; without any, of all that there are.

        With a `batch_size` the labels are taken in turn. `noise` (b c y x) is what the pictures
        begin with; where steps add fresh noise, a list may name that too, step by step. Noise that
        is not given comes from the generator. What is not said is as the model samples best.
        `output_type` is "pil", "np", or "pt" (b c y x, from 0 to 1).
        """
        asked = {
            "steps": num_inference_steps,
            "guidance": guidance_scale,
            "sampler": sampler,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        how = {**USUAL, **(self.config.sampling or {}), **asked}
        walk = self._walk(how)

        labels = self._numbers(class_labels)
        given = [] if noise is None else [noise] if isinstance(noise, Tensor) else list(noise)
        count = len(given[0]) if given else max(1, len(labels))
        if batch_size is not None:
            count = whole(batch_size, "pictures", 1_000_000)
        told = None
        if labels:
            told = torch.tensor([labels[n % len(labels)] for n in range(count)])
            told = told.to(self._execution_device)

        dtype = torch.promote_types(self.denoiser.dtype, torch.float32)
        shape = count, *self.shape
        for part in given:
            if part.shape != shape:
                raise ValueError(
                    f"noise of {tuple(part.shape)} for {count} pictures of {self.shape}"
                )
            if not part.isfinite().all():
                raise ValueError("noise with numbers in it that are none (NaN) or infinite")

        def draw() -> Tensor:
            if given:
                return given.pop(0).to(self._execution_device, dtype)
            return randn_tensor(shape, generator, self._execution_device, dtype)

        times = torch.linspace(1, 0, how["steps"] + 1, dtype=torch.float64)
        stops = [Stop(t, *self.level(t)) for t in times]
        guess = partial(self._guess, told=told, how=how)
        x = draw()
        if self.kept is None:  # betas keep the variance at 1, and so begin with it
            x = stops[0].sigma * x
        with self.progress_bar(total=how["steps"]) as bar:
            for made in walk(guess, x, stops, draw):
                x = made
                bar.update()

        images = (x / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).float().numpy()
            images = self.numpy_to_pil(images) if output_type == "pil" else images
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _walk(self, how: dict) -> Callable[..., Iterator[Tensor]]:
        """The sampler, if this network can be sampled by it."""
        known = {"none": WALKS, "anywhere": {"jump": euler}, "picture": {"jump": consistent}}
        walks = known[self.jumps]
        if how["sampler"] not in walks:
            raise ValueError(f"no sampler {how['sampler']!r}; there are {', '.join(walks)}")
        most = 10_000 if self.kept is None else len(self.kept) - 1
        how["steps"] = whole(how["steps"], "steps", most)
        if not math.isfinite(how["guidance"]):
            raise ValueError(f"guidance of {how['guidance']}: a finite number is needed")
        return walks[how["sampler"]]

    def _numbers(self, class_labels: Sequence[str | int] | str | int | None) -> list[int]:
        names = self.labels or [str(number) for number in range(self.classes)]
        if class_labels is None:
            return list(range(len(names)))
        given = [class_labels] if isinstance(class_labels, str | int) else class_labels
        if not given and names:
            raise ValueError(f"an empty list of labels; there are {', '.join(names)}")
        for label in given:
            if label not in names and (type(label) is bool or label not in range(len(names))):
                raise ValueError(f"no label {label!r}; there are {', '.join(names) or 'none'}")
        return [names.index(label) if label in names else int(label) for label in given]

    def _guess(
        self, x: Tensor, here: "Stop", there: "Stop", told: Tensor | None, how: dict
    ) -> tuple[Tensor, Tensor]:
        """What the network says, as a guess of the picture and of the noise in x."""
        answer = self._answer(x, here.t.float(), there.t.float(), told, how)
        alpha, sigma = here.alpha, here.sigma
        if self.objective == "noise":
            # In noise alone it says nothing of the picture: all grey is the mean of them.
            picture = (x - sigma * answer) / alpha if alpha > 0 else torch.zeros_like(x)
            noise = answer if alpha > 0 else x / sigma
        elif self.objective == "clean":
            picture, noise = answer, (x - alpha * answer) / sigma
        elif self.objective == "velocity":
            size = torch.hypot(alpha, sigma)
            picture = (alpha * x / size - sigma * answer) / size
            noise = (sigma * x / size + alpha * answer) / size
        else:  # flow
            size = alpha + sigma
            picture, noise = (x - sigma * answer) / size, (x + alpha * answer) / size
        if self.config.clip is not None:
            picture = picture.clamp(-self.config.clip, self.config.clip)
            noise = (x - alpha * picture) / sigma
        return picture, noise

    def _answer(self, x: Tensor, t: Tensor, to: Tensor, told: Tensor | None, how: dict) -> Tensor:
        """What the network says; guided, it goes beyond what it would say without a label."""
        low, high = how["interval"]
        scale = how["guidance"]
        if scale == 1 or told is None or not low <= t <= high:
            return self._ask(x, t, to, told)
        if self.null is None:
            raise ValueError("this network has never drawn without a label; leave out the guidance")
        both = torch.cat([told, torch.full_like(told, self.null)])
        with_, without = self._ask(torch.cat([x, x]), t, to, both).chunk(2)
        answer = without + scale * (with_ - without)
        if how["rescale"]:  # a share of the contrast that guidance adds is taken back
            spread = [part.flatten(1).std(1)[:, None, None, None] for part in (with_, answer)]
            answer = answer * (1 - how["rescale"] + how["rescale"] * spread[0] / spread[1])
        return answer

    def _ask(self, x: Tensor, t: Tensor, to: Tensor, told: Tensor | None) -> Tensor:
        t, to = (time.to(x.device).expand(len(x)) for time in (t, to))
        more = {}
        if self.jumps == "anywhere":
            more["to"] = to
        if self.kept is not None:  # it counts betas, from 0 on, and learned whole numbers
            t = t * (len(self.kept) - 1) - 1
            t = torch.where((t - t.round()).abs() < 1e-3, t.round(), t).clamp(min=0)
            if self.denoiser.config.time_embedding_type == "learned":
                t = t.round().long()
        half = x.to(self.denoiser.dtype)
        answer = self.denoiser(half, t, class_labels=told, return_dict=False, **more)[0]
        return answer[:, : x.shape[1]].to(x.dtype)  # what may be behind says how sure it is


def whole(value: int, name: str, most: int) -> int:
    """A whole number from 1 up."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or not 1 <= number <= most:
        raise ValueError(f"{value!r} {name}: a whole number from 1 to {most:,} is possible")
    return number


# --- how a picture fades into noise ---------------------------------------------------------------


def flow(t: Tensor) -> tuple[Tensor, Tensor]:
    return 1 - t, t


def cosine(t: Tensor) -> tuple[Tensor, Tensor]:
    return (math.pi / 2 * (1 - t)).sin(), (math.pi / 2 * t).sin()


def linear(t: Tensor) -> tuple[Tensor, Tensor]:
    log_alpha = -(t**2) * (20 - 0.1) / 4 - t * 0.1 / 2
    return log_alpha.exp(), (-(2 * log_alpha).expm1()).sqrt()


def counted(kept: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Of a table; between two of its rows the noise's strength grows in a straight line."""
    place = t * (len(kept) - 1)
    place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)
    low = place.long()
    ratio = ((1 - kept) / kept).sqrt()
    ratio = ratio[low].lerp(ratio[low + 1], place - low) if place > low else ratio[low]
    return (1 + ratio**2) ** -0.5, (1 + ratio**-2) ** -0.5


SCHEDULES = {"flow": flow, "cosine": cosine, "linear": linear}


# --- samplers: each yields every x on the way -----------------------------------------------------


class Stop(NamedTuple):
    """A time, and how much picture and how much noise there is then."""

    t: Tensor
    alpha: Tensor
    sigma: Tensor


Guess = Callable[[Tensor, Stop, Stop], tuple[Tensor, Tensor]]  # (x, here, there) -> picture, noise
Draw = Callable[[], Tensor]


def euler(guess: Guess, x: Tensor, stops: list[Stop], draw: Draw) -> Iterator[Tensor]:
    """Keep the guessed picture and put less of the guessed noise over it: DDIM, too."""
    for here, there in pairwise(stops):
        picture, noise = guess(x, here, there)
        x = there.alpha * picture + there.sigma * noise
        yield x


def heun(guess: Guess, x: Tensor, stops: list[Stop], draw: Draw) -> Iterator[Tensor]:
    """Look where Euler's step leads, ask again there, and walk along the mean of both."""
    for here, there in pairwise(stops):
        picture, noise = guess(x, here, there)
        x = there.alpha * picture + there.sigma * noise
        if there.sigma > 0:
            next_picture, next_noise = guess(x, there, there)
            if here.alpha > 1e-6:
                way = there.sigma - there.alpha * here.sigma / here.alpha
                x = x + way * (next_noise - noise) / 2
            else:
                way = there.alpha - there.sigma * here.alpha / here.sigma
                x = x + way * (next_picture - picture) / 2
        yield x


def dpm(
    guess: Guess, x: Tensor, stops: list[Stop], draw: Draw, eta: float = 0.0
) -> Iterator[Tensor]:
    """Continue the line through the last two guesses: DPM-Solver++ 2M; with eta = 1 its SDE."""
    before = None
    for here, there in pairwise(stops):
        picture, _ = guess(x, here, there)
        now, then = ((stop.alpha / stop.sigma).log() for stop in (here, there))
        line = picture
        if before is not None and there.sigma > 0:
            r = (now - before[1]) / (then - now)
            line = picture + (picture - before[0]) / (2 * r)
        shrink = there.sigma * here.alpha / (here.sigma * there.alpha)
        stays = there.sigma / here.sigma * shrink**eta
        x = stays * x + there.alpha * (1 - shrink ** (1 + eta)) * line
        if eta:
            x = x + there.sigma * (1 - shrink ** (2 * eta)).sqrt() * draw()
        before = picture, now
        yield x


def ddpm(guess: Guess, x: Tensor, stops: list[Stop], draw: Draw) -> Iterator[Tensor]:
    """Undo one portion of noise at a time, and add a little that is fresh."""
    for here, there in pairwise(stops):
        picture, _ = guess(x, here, there)
        shrink = here.alpha / there.alpha
        beta = here.sigma**2 - (shrink * there.sigma) ** 2
        behind = (there.sigma / here.sigma) ** 2
        x = there.alpha * beta / here.sigma**2 * picture + shrink * behind * x
        if there.sigma > 0:
            x = x + (behind * beta).clamp(min=1e-20).sqrt() * draw()
        yield x


def consistent(guess: Guess, x: Tensor, stops: list[Stop], draw: Draw) -> Iterator[Tensor]:
    """Jump to the picture, put fresh noise on it, and jump again."""
    for here, there in pairwise(stops):
        picture, _ = guess(x, here, there)
        x = there.alpha * picture + there.sigma * draw() if there.sigma > 0 else picture
        yield x


WALKS = {
    "ddpm": ddpm,
    "ddim": euler,
    "dpm++": dpm,
    "dpm++sde": partial(dpm, eta=1.0),
    "euler": euler,
    "heun": heun,
}
