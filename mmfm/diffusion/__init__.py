"""Diffusion, in the order in which it is best read; each file knows only those above it.

schedules    how much of a picture is left at a time, and how much noise there is
objectives   what a network is asked for, what its answer says about picture and noise, the loss
course       where to stop on the way from noise to a picture (`as_diffusers`: where diffusers does)
samplers     that way, step by step
guidance     more of what was asked for
editing      a way that starts from a picture, or leads back to its noise
few_steps    what a network must be taught to get there in one step or two

The network is anything that answers `model(x, t, condition)`; `mmfm.models.denoiser` is one.
"""
