"use strict";
// Plots, sorting and filtering. All text goes in as text: nothing here builds markup from strings.
(() => {
  const boards = JSON.parse(document.getElementById("data").textContent).boards;
  const SVG = "http://www.w3.org/2000/svg";
  const AXES = [
    ["flash_bytes", "flash", "B", ["max_flash_bytes", "board_flash_bytes"]],
    ["ram_bytes", "RAM", "B", ["max_ram_bytes", "board_ram_bytes"]],
    ["instructions", "instructions", "", ["max_instructions"]],
    ["latency_us", "latency", "µs", ["max_latency_us"]],
    ["energy_uj", "energy", "µJ", ["max_energy_uj"]],
  ];
  const W = 400, H = 260, LEFT = 52, RIGHT = 14, TOP = 12, BOTTOM = 34;
  const one = (id) => document.getElementById(id);
  const plots = one("plots"), tip = one("tip"), table = one("table");
  const body = table.tBodies[0], rows = [...body.rows];

  const number = (v) =>
    v === null || v === undefined ? "–"
      : Number.isInteger(v) ? v.toLocaleString("en")
        : Math.abs(v) < 100 ? v.toFixed(4) : v.toLocaleString("en", { maximumFractionDigits: 1 });

  const short = (v) =>
    Math.abs(v) >= 1e6 ? +(v / 1e6).toPrecision(3) + " M"
      : Math.abs(v) >= 1e4 ? +(v / 1e3).toPrecision(3) + " k" : String(+v.toPrecision(3));

  function draw(parent, name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  // A scale from values to pixels, logarithmic where they span more than a factor of 20.
  function scale(values, from, to, mayBeLog) {
    let low = Math.min(...values), high = Math.max(...values);
    const log = mayBeLog && low > 0 && high / low > 20;
    const f = log ? Math.log : (v) => v;
    const pad = (f(high) - f(low) || Math.abs(f(high)) || 1) * 0.08;
    const a = f(low) - pad, b = f(high) + pad;
    const at = (v) => from + ((f(v) - a) / (b - a)) * (to - from);
    at.inside = (v) => f(v) >= a && f(v) <= b;
    at.ticks = [];
    if (log) {
      for (let e = Math.floor(a / Math.LN10); e <= b / Math.LN10; e++)
        for (const m of [1, 2, 5]) if (at.inside(m * 10 ** e)) at.ticks.push(m * 10 ** e);
    } else {
      const raw = (b - a) / 4, unit = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].find((m) => m * unit >= raw) * unit;
      for (let v = Math.ceil(a / step) * step; v <= b; v += step) at.ticks.push(+v.toPrecision(12));
    }
    return at;
  }

  const wanted = () => ({
    board: Number(one("board").value),
    name: one("filter").value.trim().toLowerCase(),
    states: new Set([...document.querySelectorAll(".state")].filter((i) => i.checked).map((i) => i.value)),
  });

  const fits = (w, name, state) => w.states.has(state) && name.toLowerCase().includes(w.name);

  function plot(board, axis, shown) {
    const [field, label, unit, limits] = axis;
    const points = shown.filter((c) => c[field] !== null && c.value !== null);
    if (!points.length) return;
    const metric = points[0].metric;
    const figure = document.createElement("figure");
    figure.className = "plot";
    const caption = document.createElement("figcaption");
    caption.textContent = `${metric} against ${label}${unit ? ", " + unit : ""}`;
    const svg = draw(figure, "svg", {
      viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${metric} against ${label} on ${board.name}`,
    });
    figure.prepend(caption);
    const x = scale(points.map((c) => c[field]), LEFT, W - RIGHT, true);
    const y = scale(points.map((c) => c.value), H - BOTTOM, TOP, false);
    for (const v of y.ticks) {
      draw(svg, "line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(v), y2: y(v) });
      draw(svg, "text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, String(+v.toFixed(4)));
    }
    let last = -99;
    for (const v of x.ticks) {
      draw(svg, "line", { class: "grid", x1: x(v), x2: x(v), y1: TOP, y2: H - BOTTOM });
      if (x(v) - last < 42) continue;
      last = x(v);
      draw(svg, "text", { x: x(v), y: H - BOTTOM + 16, "text-anchor": "middle" }, short(v));
    }
    for (const key of limits) {
      const v = board.limits[key];
      if (v !== undefined && x.inside(v)) draw(svg, "line", { class: "limit", x1: x(v), x2: x(v), y1: TOP, y2: H - BOTTOM });
    }
    const least = board.limits.min_metric;
    if (least !== undefined && y.inside(least)) draw(svg, "line", { class: "limit", x1: LEFT, x2: W - RIGHT, y1: y(least), y2: y(least) });

    // The staircase of what is best for its cost, seen along this axis.
    const steps = [];
    let best = null;
    for (const c of points.filter((p) => p.state !== "rejected").sort((p, q) => p[field] - q[field] || (p.higher ? q.value - p.value : p.value - q.value))) {
      if (best !== null && (c.higher ? c.value <= best : c.value >= best)) continue;
      steps.push(steps.length ? `H${x(c[field])}V${y(c.value)}` : `M${x(c[field])} ${y(c.value)}`);
      best = c.value;
    }
    if (steps.length > 1) draw(svg, "path", { class: "front", d: steps.join("") });

    const order = { rejected: 0, sufficient: 1, selected: 2 };
    for (const c of [...points].sort((p, q) => order[p.state] - order[q.state])) {
      const mark = draw(svg, "circle", {
        class: `mark ${c.state}`, cx: x(c[field]), cy: y(c.value), r: c.state === "selected" ? 7 : 5,
        tabindex: 0, role: "img",
        "aria-label": `${c.name}: ${metric} ${number(c.value)}, ${label} ${number(c[field])} ${unit}, ${c.state}`,
      });
      mark.dataset.name = c.name;
      const on = () => show(c, mark), off = () => hide();
      mark.addEventListener("pointerenter", on);
      mark.addEventListener("focus", on);
      mark.addEventListener("pointerleave", off);
      mark.addEventListener("blur", off);
      mark.addEventListener("click", on);
    }
    plots.append(figure);
  }

  function light(name) {
    for (const m of plots.querySelectorAll(".mark")) m.classList.toggle("hot", m.dataset.name === name);
    const board = one("board").value;
    for (const r of rows) r.classList.toggle("hot", r.dataset.name === name && r.dataset.board === board);
  }

  function show(c, mark) {
    const line = (tag, text) => {
      const node = document.createElement(tag);
      node.textContent = text;
      tip.append(node);
    };
    tip.replaceChildren();
    line("b", c.name);
    line("div", `${c.metric} ${number(c.value)}`);
    for (const [field, label, unit] of AXES) {
      if (c[field] === null) continue;
      const origin = c.origin[field] ? ` (${c.origin[field]})` : "";
      line("div", `${label} ${number(c[field])} ${unit}${origin}`);
    }
    line("p", `${c.state}${c.front ? ", on the Pareto front" : ""}: ${c.reason}`);
    tip.hidden = false;
    const box = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const above = box.top - own.height - 10;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 4 ? above : box.bottom + 10) + scrollY}px`;
    light(c.name);
  }

  function hide() {
    tip.hidden = true;
    light(null);
  }

  function update() {
    const w = wanted();
    hide();
    plots.replaceChildren();
    const board = boards[w.board];
    const shown = board ? board.candidates.filter((c) => fits(w, c.name, c.state)) : [];
    for (const axis of AXES) plot(board, axis, shown);
    if (!plots.childElementCount) {
      const nothing = document.createElement("p");
      nothing.className = "dim";
      nothing.textContent = "Nothing to plot: no variant with figures fits the filter.";
      plots.append(nothing);
    }
    const every = one("every").checked;
    for (const r of rows) {
      const here = every || Number(r.dataset.board) === w.board;
      r.hidden = !(here && fits(w, r.dataset.name, r.dataset.state));
    }
  }

  // Click on a head: ascending, again: descending. What was not measured stays last.
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const h of heads) h.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = head.classList.contains("n");
      const key = (r) => {
        const cell = r.cells[column];
        if (!numeric) return cell.textContent;
        return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
      };
      const compare = (p, q) => {
        const a = key(p), b = key(q);
        if (a === null || b === null) return (a === null) - (b === null);
        const order = numeric ? a - b : a.localeCompare(b);
        return down ? -order : order;
      };
      body.append(...rows.sort(compare));
    });
  });

  for (const r of rows) {
    r.addEventListener("pointerenter", () => r.dataset.board === one("board").value && light(r.dataset.name));
    r.addEventListener("pointerleave", () => light(null));
  }
  document.querySelector(".controls").addEventListener("submit", (e) => e.preventDefault());
  for (const id of ["board", "filter", "every"]) one(id).addEventListener("input", update);
  for (const box of document.querySelectorAll(".state")) box.addEventListener("input", update);
  addEventListener("keydown", (e) => e.key === "Escape" && hide());
  update();
})();
