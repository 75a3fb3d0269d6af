"""From a trace to plotly figures and files: all drawing lives here."""
