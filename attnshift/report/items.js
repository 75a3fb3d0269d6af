// Items: a page of cards at a time, all text set as text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("items-data").textContent);
  if (!data) return;
  const AT_ONCE = 8;
  const FOLDED = 420; // characters from which a piece of a prompt shows its two ends alone
  const ENDS = 160;
  const DENSE = 48; // checkpoints from which a strip has no letters and no gaps
  const SHADED = 0.55; // of the role's colour, at most: letters stay legible on it
  const FAINTEST = 0.06;
  const NAMES = { c: "the context’s answer", p: "the memorised answer", b: "both answers", n: "neither answer", "-": "not measured" };
  const LETTERS = { c: "C", p: "M", b: "B", n: "·", "-": "" };
  const ROLE_NAMES = { bos: "first token", template: "template", context: "context", context_answer: "context’s answer", parametric_answer: "memorised answer", question: "question", answer: "answer", sink: "learned sink" };
  const section = document.getElementById("items");
  const form = section.querySelector("form");
  const unfolded = new Set();
  const state = { page: 0, at: data.steps.length - 1 };

  const el = (tag, classes, ...children) => {
    const node = document.createElement(tag);
    if (classes) node.className = classes;
    node.append(...children);
    return node;
  };
  const svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    return node;
  };
  const step = (at) => `step ${data.steps[at].toLocaleString("en")}`;
  const quoted = (text) => el("q", "", el("bdi", "", text));

  const searched = data.items.map((item) => [item.id, item.c, item.m, ...item.p.map((piece) => piece[1])].join(" ").toLowerCase());

  const chosen = () => {
    const turn = form.elements.turn.value;
    const stratum = form.elements.stratum ? form.elements.stratum.value : "";
    const known = form.elements.known?.checked;
    const text = form.elements.text.value.trim().toLowerCase();
    return data.items.filter(
      (item, i) => (!turn || item.t.includes(turn)) && (!known || item.k) && (stratum === "" || item.s === Number(stratum)) && (!text || searched[i].includes(text)),
    );
  };

  const massPerToken = (item, role) => {
    const place = data.roles.indexOf(role);
    const mass = item.a && item.a[state.at];
    return mass && item.n && item.n[place] ? mass[place] / 1000 / item.n[place] : null;
  };

  const folded = (words, key) => {
    if (words.length < FOLDED || unfolded.has(key)) return [words];
    const more = el("button", "more", `… ${(words.length - 2 * ENDS).toLocaleString("en")} characters …`);
    more.type = "button";
    more.title = "Show them";
    more.addEventListener("click", () => {
      unfolded.add(key);
      more.replaceWith(words.slice(ENDS, -ENDS));
    });
    return [words.slice(0, ENDS), more, words.slice(-ENDS)];
  };

  const prompt = (item) => {
    const text = el("p", "prompt");
    text.dir = "auto";
    item.p.forEach(([role, words], place) => {
      const piece = el("span", `role ${role}`, ...folded(words, `${place} ${item.id}`));
      const each = massPerToken(item, role);
      if (each !== null && data.scale) {
        const share = Math.max(FAINTEST, SHADED * Math.min(1, each / data.scale));
        piece.style.setProperty("--shade", `${(100 * share).toFixed(1)}%`);
        piece.title = `${ROLE_NAMES[role]}: ${each.toFixed(3)} of the attention per token at ${step(state.at)}`;
      }
      text.append(piece);
    });
    return text;
  };

  const strip = (item) => {
    const cells = el("div", item.l.length > DENSE ? "strip dense" : "strip");
    cells.setAttribute("role", "img");
    cells.setAttribute("aria-label", `answers: ${data.steps.map((_, at) => `${step(at)} ${NAMES[item.l[at]]}`).join(", ")}`);
    [...item.l].forEach((label, at) => {
      const cell = el("span", `cell ${label === "-" ? "none" : label}${at === state.at ? " here" : ""}`, LETTERS[label]);
      cell.title = `${step(at)}: ${NAMES[label]}`;
      cell.dataset.at = at;
      cells.append(cell);
    });
    return cells;
  };

  const sparkline = (item) => {
    const known = item.d.filter((value) => value !== null);
    if (!known.length) return el("span", "sub", "not measured");
    const low = Math.min(0, ...known);
    const high = Math.max(0, ...known);
    const y = (value) => 36 - (32 * (value - low)) / (high - low || 1) - 2;
    const drawing = svg("svg", { viewBox: `0 0 ${item.d.length} 36`, preserveAspectRatio: "none", class: "spark", role: "img",
      "aria-label": `margin in nats, lowest ${low}, highest ${high}, last ${known.at(-1)}` });
    drawing.append(svg("rect", { x: state.at, y: 0, width: 1, height: 36, class: "here" }));
    drawing.append(svg("line", { x1: 0, x2: item.d.length, y1: y(0), y2: y(0), class: "zero" }));
    let path = "";
    item.d.forEach((value, at) => (path += value === null ? "" : `${path && item.d[at - 1] !== null ? "L" : "M"}${at + 0.5} ${y(value).toFixed(2)}`));
    drawing.append(svg("path", { d: path }));
    return drawing;
  };

  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(Math.abs(value) < 10 ? 1 : 0)}`;
  const rangeOf = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? `${signed(Math.min(...known))} to ${signed(Math.max(...known))}` : "";
  };

  const masses = (item) => {
    const mass = item.a && item.a[state.at];
    if (!mass) return null;
    const bar = el("div", "mass");
    bar.setAttribute("role", "img");
    const said = [];
    data.roles.forEach((role, place) => {
      if (!mass[place]) return;
      const part = el("span", `part ${role}`);
      part.style.flexGrow = mass[place];
      part.title = `${ROLE_NAMES[role]}: ${(mass[place] / 1000).toFixed(3)}`;
      if (mass[place] >= 120) part.append(ROLE_NAMES[role]);
      said.push(part.title);
      bar.append(part);
    });
    bar.setAttribute("aria-label", `attention mass at ${step(state.at)}: ${said.join(", ")}`);
    return bar;
  };

  const now = (item) => {
    const line = el("p", "now", el("b", "", step(state.at)), ": ");
    const said = item.g && item.g[1][state.at];
    if (said !== null && said !== undefined) line.append(quoted(item.g[0][said]), ", ");
    line.append(NAMES[item.l[state.at]]);
    const margin = item.d && item.d[state.at];
    if (margin !== null && margin !== undefined) line.append(`, margin ${margin < 0 ? "−" : "+"}${Math.abs(margin).toFixed(2)} nats`);
    return line;
  };

  const card = (item) => {
    const head = el("header", "", el("h3", "", el("bdi", "", item.id)));
    if (data.strata.length > 1) head.append(el("span", "tag", el("bdi", "", data.strata[item.s])));
    const says = (key, who, answer) => el("span", `says ${key}`, `${who} says `, el("bdi", "", answer));
    const answers = el("p", "answers", says("context", "context", item.c), " ", says("parametric", "memory", item.m));
    const course = el("div", "course");
    const row = (name, node, beneath = "") => node && course.append(el("span", "name", name, el("small", "", beneath)), node);
    row("answer", strip(item));
    row("margin", item.d ? sparkline(item) : null, item.d ? rangeOf(item.d) : "");
    row("attention", masses(item));
    return el("article", "card", head, prompt(item), answers, course, now(item));
  };

  const show = () => {
    const items = chosen();
    const pages = Math.max(1, Math.ceil(items.length / AT_ONCE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * AT_ONCE;
    const cards = items.slice(first, first + AT_ONCE).map(card);
    section.querySelector(".cards").replaceChildren(...cards);
    section.querySelector(".status").textContent = items.length
      ? `Items ${first + 1} to ${first + cards.length} of ${items.length}${items.length < data.items.length ? ` chosen of ${data.items.length}` : ""}`
      : "No item is like that";
    section.querySelector(".earlier").disabled = state.page === 0;
    section.querySelector(".later").disabled = state.page === pages - 1;
    form.elements.step.textContent = step(state.at);
    form.elements.at.setAttribute("aria-valuetext", step(state.at));
  };

  const turnPage = (by) => {
    state.page += by;
    show();
    section.querySelector(".status").scrollIntoView({ block: "start" });
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "at") state.at = Number(event.target.value);
    else state.page = 0;
    show();
  });
  section.querySelector(".cards").addEventListener("click", (event) => {
    if (event.target.dataset.at === undefined) return;
    state.at = Number(event.target.dataset.at);
    form.elements.at.value = state.at;
    show();
  });
  section.querySelector(".earlier").addEventListener("click", () => turnPage(-1));
  section.querySelector(".later").addEventListener("click", () => turnPage(1));
  show();
})();
