# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The one-layer theory, to play with
#
# One attention layer, a context that states the answer, a subject whose answer is remembered. Two kinds of finetuning
# points pull at the same attention: critical ones towards the context, non-critical ones, whose context only repeats
# memory, towards the subject where memory is the stronger. `docs/theory.md` has every symbol.

# %%
from dataclasses import replace

import attnshift.figures.theory as figures
from attnshift.theory import Setting, late, phase_diagram, plateau, simulate

run = simulate(Setting())
print(f"reliance {run.reliance[0]:.3f} -> {run.reliance[run.peak]:.3f} at step {run.peak} -> {run.reliance[-1]:.3f}")
print(f"attention in the end, in closed form: {plateau(Setting()):.3f}")
figures.trajectory(run)

# %% [markdown]
# Move the sliders. Without `ipywidgets` (or outside a live kernel) the cell below draws one setting; change it there.


# %%
def draw(n_critical=10, n_non_critical=10, n_counterfactual=0, delta_memory=0.5, known=0.0, trained="qk"):
    """A setting's course, as text and as a figure."""
    counts = {"n_critical": n_critical, "n_non_critical": n_non_critical, "n_counterfactual": n_counterfactual}
    setting = Setting(**counts, delta_memory=delta_memory, known=known, trained=trained, n_test=1)
    run, asymptote = simulate(setting), late(setting)
    print(f"M {run.reliance[0]:.3f} -> {run.reliance[run.peak]:.3f} at step {run.peak} -> {run.reliance[-1]:.3f}")
    if asymptote is not None:
        print(f"in the end the attention gap moves by {asymptote.drift:+.3f} per e-fold of steps")
    return figures.trajectory(run)


try:
    from ipywidgets import FloatSlider, IntSlider, interactive
except ImportError:
    shown = draw()
else:
    shown = interactive(
        draw,
        n_critical=IntSlider(10, 1, 100),
        n_non_critical=IntSlider(10, 0, 100),
        n_counterfactual=IntSlider(0, 0, 20),
        delta_memory=FloatSlider(0.5, min=0.05, max=0.95, step=0.05),
        known=FloatSlider(0.0, min=0.0, max=0.4, step=0.02),
        trained=["qk", "v", "both"],
    )
shown

# %% [markdown]
# What the paper says helps: fewer non-critical points, and points whose context contradicts memory.

# %%
varied = Setting(spread=0.7, attention_spread=0.15)
for name, change in {
    "as it is": {},
    "best-known quarter filtered": {"filtered": 0.25},
    "two counterfactual points": {"n_counterfactual": 2},
    "critical only": {"n_non_critical": 0},
}.items():
    run = simulate(replace(varied, **change))
    print(f"{name:30} peak {run.reliance.max():.3f}  end {run.reliance[-1]:.3f}")

# %% [markdown]
# Where the inversion comes at all, with 20 points and with 2,000: **with many points and frozen values it needs more
# non-critical points than critical ones, or a direction that known subjects share (ρ > 0).**

# %%
grid = {"share": [n / 20 for n in range(2, 19, 2)], "delta_memory": [n / 20 for n in range(1, 20, 2)]}
figures.phases(phase_diagram(Setting(n_test=1), **grid))

# %%
figures.phases(phase_diagram(Setting(n_critical=1000, n_non_critical=1000, n_test=1), **grid))
