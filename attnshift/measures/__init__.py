"""One file per measure: name, unit, dims and the formula; knows no hooks, no disk, no plotting."""
