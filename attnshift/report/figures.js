// Figures: laid out for the place they have, with a slider that a keyboard reaches and their numbers as a table.
"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("figures-data").textContent);
  const touch = matchMedia("(pointer: coarse)").matches;
  const PHONE = 560;
  const WIDEST = 700;
  const config = { displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
  if (touch) config.displayModeBar = false;

  const layoutOf = (spec, place) => {
    const room = place.clientWidth;
    const layout = structuredClone(room < PHONE ? spec.narrow : spec.wide);
    layout.width = Math.min(room, WIDEST);
    if (touch) layout.dragmode = false; // a finger on a figure scrolls the page
    return layout;
  };

  const follow = (figure, spec) => {
    const slider = figure.querySelector("input[type=range]");
    if (!slider) return;
    const move = () => {
      const step = spec.slider.steps[slider.value];
      slider.setAttribute("aria-valuetext", spec.slider.prefix + step.label);
      figure.querySelector("output").textContent = step.label;
      return Plotly.restyle(figure.querySelector(".plot"), ...structuredClone(step.args));
    };
    slider.addEventListener("input", () => move().then(() => tabulate(figure)));
    move();
  };

  const number = (value) => (typeof value === "number" ? String(+value.toPrecision(5)) : value == null ? "" : String(value));

  const rowsOf = (curve) => {
    if (curve.type === "heatmap") {
      return curve.z.flatMap((row, y) => row.flatMap((z, x) => (z === null ? [] : [[curve.name, curve.x[x], curve.y[y], z, "", ""]])));
    }
    if (curve.meta === "noise") return curve.customdata.map(([x, ...drawn]) => [curve.name, x, "", ...drawn]);
    const ours = Array.isArray(curve.customdata) && Array.isArray(curve.customdata[0]);
    const bars = curve.error_y && curve.error_y.array ? curve.error_y : null;
    const bounds = (y, i) => (ours ? curve.customdata[i].slice(1, 3) : bars ? [y - (bars.arrayminus || bars.array)[i], y + bars.array[i]] : ["", ""]);
    return curve.x.map((x, i) => [curve.name, ours ? curve.customdata[i][0] : x, "", curve.y[i], ...bounds(curve.y[i], i)]);
  };

  const tabulate = (figure) => {
    const details = figure.querySelector("details.drawn");
    if (!details.open) return;
    const curves = figure.querySelector(".plot").data.filter((curve) => curve.visible !== false && !["band", "key"].includes(curve.meta) && curve.x);
    curves.sort((one, other) => (one.meta === "noise") - (other.meta === "noise"));
    const rows = curves.flatMap(rowsOf);
    const table = document.createElement("table");
    table.className = "plain";
    const head = ["series", "x", "row", "value", "low", "high"];
    const used = head.map((_, i) => i < 2 || rows.some((row) => number(row[i]) !== ""));
    const line = (cells, tag) => {
      const tr = document.createElement("tr");
      cells.filter((_, i) => used[i]).forEach((cell) => (tr.appendChild(document.createElement(tag)).textContent = number(cell)));
      return tr;
    };
    table.createTHead().appendChild(line(head, "th"));
    const body = table.createTBody();
    rows.forEach((row) => body.appendChild(line(row, "td")));
    details.querySelector("div").replaceChildren(table);
  };

  const figures = [...document.querySelectorAll("figure[data-figure]")];
  const drawAll = async () => {
    for (const figure of figures) {
      const spec = specs[figure.dataset.figure];
      const place = figure.querySelector(".plot");
      await Plotly.newPlot(place, spec.data, layoutOf(spec, place), config);
      follow(figure, spec);
      figure.querySelector("details.drawn").addEventListener("toggle", () => tabulate(figure));
    }
    document.documentElement.dataset.drawn = "all";
  };

  let waiting = 0;
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return; // a phone's address bar came or went
    width = document.documentElement.clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const figure of figures) {
        const place = figure.querySelector(".plot");
        Plotly.react(place, place.data, layoutOf(specs[figure.dataset.figure], place), config);
      }
    }, 150);
  });
  drawAll();
})();
