"use strict";
// The neurons of the page: search, filters, order, and the evidence of each neuron that is opened. The index is parsed at once;
// a neuron's evidence is a line of its own that is parsed when it is opened, so thousands of neurons cost nothing at first.
// What is searched and opened stands in the address, so that it can be shared. Texts enter as text nodes only, never as markup.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 50;
  const LENGTHS = "0123456789abcdefghijklmnopqrstuvwxyz";
  const LEVELS = "abcdefghijklmnopq"; // -8 to 8 standard deviations; "." was not scored
  const KINDS = [["top", "Where it is strongest"], ["middle", "Half as strong"], ["near zero", "Where it is silent"]];
  const DOMAIN_HEADS = [["domain", ""], ["AUROC", "r"], ["AP", "r"], ["d\u2032", "r"], ["bits", "r"], ["NormalizedFire", "r"]];
  const byId = (id) => document.getElementById(id);

  // ---- small helpers -------------------------------------------------------------------------------------------------

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function draw(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function shown(value, digits = 3) {
    if (value === null || value === undefined) return make("span", { class: "none" }, "not measured");
    const small = value !== 0 && Math.abs(value) < 10 ** -digits / 2;
    const text = small ? value.toExponential(1) : value.toFixed(digits);
    return make("data", { value: String(value) }, text.replace("-", "\u2212"));
  }

  function table(caption, heads, rows) {
    const head = make("tr", {}, ...heads.map(([name, kind]) => make("th", { scope: "col", class: kind }, name)));
    const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, place) => place
      ? make("td", { class: heads[place][1] }, cell) : make("th", { scope: "row" }, cell))));
    return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
      make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)));
  }

  // ---- data ----------------------------------------------------------------------------------------------------------

  const index = JSON.parse(byId("neuron-index").textContent);
  const neurons = index.neurons.map((row, place) => {
    const neuron = Object.fromEntries(index.columns.map((name, column) => [name, row[column]]));
    const [, layer, unit] = neuron.id.match(/^L(\d+)\/U(\d+)$/);
    const words = `${neuron.id} ${neuron.domain} ${neuron.partners}`.toLowerCase();
    return { ...neuron, place, words, layer: Number(layer), unit: Number(unit) };
  });
  const placeOf = new Map(neurons.map((neuron) => [neuron.id, neuron.place]));
  let lines = null;
  function evidenceOf(place) {
    lines ??= byId("neuron-evidence").textContent.trim().split("\n");
    return JSON.parse(lines[place]);
  }

  const high = (name) => (a, b) => (b[name] ?? -Infinity) - (a[name] ?? -Infinity) || a.place - b.place;
  const ORDERS = {
    auroc: high("auroc"), controlled: high("controlled"), ap: high("ap"), rho: high("rho"), specialisation: high("specialisation"),
    q: (a, b) => (a.q ?? Infinity) - (b.q ?? Infinity) || a.place - b.place,
    name: (a, b) => a.layer - b.layer || a.unit - b.unit,
  };

  // ---- state and its form in the address -----------------------------------------------------------------------------

  const form = byId("neuron-form");
  const body = byId("neuron-rows");
  const FIELDS = ["find", "domain", "rho", "q", "strict", "sort"];
  const DEFAULTS = { find: "", domain: "", rho: "", q: "", strict: "", sort: "auroc" };
  const open = new Set();
  let limit = PAGE;

  function state() {
    const value = (name) => {
      const field = form?.elements[name];
      return !field ? DEFAULTS[name] : field.type === "checkbox" ? (field.checked ? "1" : "") : field.value.trim();
    };
    return Object.fromEntries(FIELDS.map((name) => [name, value(name)]));
  }

  function remember() {
    const current = state();
    const parts = FIELDS.filter((name) => current[name] !== DEFAULTS[name])
      .map((name) => `${name}=${encodeURIComponent(current[name]).replaceAll("%2F", "/")}`);
    if (open.size) parts.push(`open=${[...open].join(",")}`);
    const hash = parts.length ? `#${parts.join("&")}` : location.hash.includes("=") ? "#neurons" : location.hash;
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
  }

  function recall() {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return false;
    const found = new Map(hash.split("&").map((part) => {
      const cut = part.indexOf("=");
      try { return [part.slice(0, cut), decodeURIComponent(part.slice(cut + 1))]; } catch { return [part.slice(0, cut), ""]; }
    }));
    for (const name of FIELDS) {
      const field = form.elements[name], value = found.get(name) ?? DEFAULTS[name];
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value === "1"; else field.value = value;
      if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = DEFAULTS[name];
    }
    open.clear();
    for (const id of (found.get("open") ?? "").split(",")) if (placeOf.has(id)) open.add(id);
    return true;
  }

  // ---- the table -----------------------------------------------------------------------------------------------------

  function chosen() {
    const { find, domain, rho, q, strict, sort } = state();
    const words = find.toLowerCase().split(/\s+/).filter(Boolean);
    return neurons.filter((neuron) => words.every((word) => neuron.words.includes(word))
      && (!domain || neuron.domain === domain) && (!strict || neuron.strict)
      && (rho === "" || (neuron.rho !== null && neuron.rho >= Number(rho)))
      && (q === "" || (neuron.q !== null && neuron.q <= Number(q)))).sort(ORDERS[sort] ?? ORDERS.auroc);
  }

  function render() {
    const found = chosen();
    const visible = found.slice(0, limit);
    for (const neuron of found.slice(limit)) if (open.has(neuron.id)) visible.push(neuron);
    body.replaceChildren(...visible.flatMap(rowsOf));
    const count = `${found.length.toLocaleString("en")} of ${neurons.length.toLocaleString("en")} neurons`;
    byId("neuron-count").textContent = found.length ? count : `${count}: nothing fits; loosen a filter.`;
    byId("neuron-more").hidden = found.length <= limit;
    remember();
  }

  const detailId = (neuron) => `evidence-${neuron.place}`;

  function rowsOf(neuron) {
    const expanded = open.has(neuron.id);
    const button = make("button", { type: "button", class: "open", "aria-expanded": String(expanded),
      "aria-controls": expanded ? detailId(neuron) : null, "data-neuron": neuron.id }, neuron.id);
    const cells = [["auroc", ""], ["controlled", "wide"], ["ap", "wide"], ["rho", ""], ["q", ""], ["specialisation", "wide"]]
      .map(([name, kind]) => make("td", { class: `r ${kind}` }, shown(neuron[name], name === "q" ? 4 : 3)));
    const strict = make("td", { class: "wide" }, neuron.strict ? make("span", { class: "tag chosen" }, "strict") : "");
    const row = make("tr", { class: expanded ? "opened" : null }, make("th", { scope: "row" }, button),
      make("td", { class: "wide" }, neuron.domain), ...cells, strict);
    return expanded ? [row, detailOf(neuron)] : [row];
  }

  function detailOf(neuron) {
    const article = make("article", { "aria-label": `Evidence for ${neuron.id}` }, ...evidence(neuron));
    return make("tr", { class: "detail", id: detailId(neuron) }, make("td", { colspan: "9" }, article));
  }

  // ---- the evidence of one neuron ------------------------------------------------------------------------------------

  function evidence(neuron) {
    const found = evidenceOf(neuron.place);
    const means = found.sign < 0 ? "It is read with its sign turned: what is called high here is low in the model. " : "";
    const measures = [["AUROC where it was chosen", shown(found.choose)], ["AUROC where it is reported", shown(neuron.auroc)],
      ["AUROC, words aside", shown(neuron.controlled)], ["d\u2032", shown(found.dprime, 2)],
      ["mutual information, bits", shown(found.bits)], ["NormalizedFire", shown(found.fire, 2)],
      ["strongest contexts counted", shown(found.counted, 0)]];
    const domains = (found.domains ?? []).map(([name, ...row]) =>
      [name, ...row.map((value, column) => shown(value, column === 2 || column === 4 ? 2 : 3))]);
    const partners = found.matches.map(([peer, name, rho, low, top, q]) => [peer, name, shown(rho), interval(rho, low, top),
      shown(q, 4)]);
    const heads = [["peer", ""], ["neuron", ""], ["\u03c1", "r"], ["95% interval, from 0 to 1", ""], ["q", "r"]];
    return [
      make("div", { class: "side even" },
        make("div", {}, make("h3", {}, "Its partners in the peers"), table("Mutual nearest neighbours", heads, partners),
          table(`How it tells ${neuron.domain}`, [["measure", ""], ["value", "r"]], measures)),
        make("div", {}, make("h3", {}, "Documents by its activation"), ...histogram(neuron, found.histogram),
          ...(domains.length ? [table("How it tells every domain", DOMAIN_HEADS, domains)] : []))),
      ...(found.contexts.length ? [legend(means)] : []),
      ...KINDS.flatMap(([kind, title]) => contexts(title, found.contexts.filter((context) => context[0] === kind))),
    ];
  }

  function interval(rho, low, top) {
    if (low === null) return shown(null);
    const ends = [low, top].map(Math.abs).sort((a, b) => a - b), x = (value) => 2 + 116 * Math.min(1, value);
    const from = low * top < 0 ? 0 : ends[0];
    const drawing = draw("svg", { class: "interval", viewBox: "0 0 120 12", role: "img",
      "aria-label": `${low.toFixed(3)} to ${top.toFixed(3)}` },
      draw("line", { x1: 2, x2: 118, y1: 6, y2: 6, stroke: "var(--rule)" }),
      draw("line", { x1: x(from), x2: x(ends[1]), y1: 6, y2: 6, stroke: "var(--blue)", "stroke-width": 3 }),
      draw("circle", { cx: x(Math.abs(rho)), cy: 6, r: 3.6, fill: "var(--blue)" }));
    const text = `${low.toFixed(3)} to ${top.toFixed(3)}`.replaceAll("-", "\u2212");
    return make("span", { class: "interval" }, drawing, make("small", {}, text));
  }

  // Rows of equal scale, the neuron's domain first; heights are square roots of shares, so that thin tails show.
  function histogram(neuron, data) {
    if (!data) return [shown(null)];
    const { low, high, counts } = data, bins = counts[0].length, left = 96, width = 300, step = 24;
    const totals = counts.map((row) => row.reduce((a, b) => a + b, 0));
    const mean = (row) => counts[row].reduce((sum, count, bin) => sum + count * bin, 0) / Math.max(1, totals[row]);
    const order = index.domains.map((_, row) => row).filter((row) => counts[row].length)
      .sort((a, b) => (index.domains[b] === neuron.domain) - (index.domains[a] === neuron.domain) || mean(b) - mean(a));
    const heights = counts.map((row, at) => row.map((count) => Math.sqrt(count / Math.max(1, totals[at]))));
    const tallest = Math.max(...heights.flat(), 1e-9), place = (bin) => left + (width * bin) / bins;
    const zero = left + (width * (0 - low)) / (high - low), bottom = 8 + step * order.length;
    const parts = order.flatMap((row, line) => {
      const base = 4 + step * (line + 1), own = index.domains[row] === neuron.domain;
      const path = heights[row].map((height, bin) =>
        `L${place(bin).toFixed(1)} ${(base - 20 * height / tallest).toFixed(1)}H${place(bin + 1).toFixed(1)}`).join("");
      const colour = own ? "var(--blue)" : "var(--muted)";
      return [draw("text", { x: left - 8, y: base - 3, "text-anchor": "end", "font-weight": own ? 700 : 400 }, clipped(index.domains[row])),
        draw("path", { d: `M${left} ${base}${path}V${base}Z`, fill: colour, "fill-opacity": 0.45, stroke: colour })];
    });
    if (low < 0 && high > 0) parts.push(draw("line", { x1: zero, x2: zero, y1: 4, y2: bottom, class: "zero" }));
    for (const [value, x, anchor] of [[low, left, "start"], [high, left + width, "end"]]) {
      parts.push(draw("text", { x, y: bottom + 14, "text-anchor": anchor }, `${value.toFixed(1)}\u03c3`.replace("-", "\u2212")));
    }
    const title = `Documents of each domain by the mean activation of ${neuron.id}`;
    const figure = draw("svg", { class: "figure histogram", viewBox: `0 0 ${left + width + 6} ${bottom + 20}`, role: "img", "aria-label": title }, ...parts);
    const numbers = make("details", {}, make("summary", {}, "The numbers"));
    numbers.addEventListener("toggle", () => {
      if (numbers.children.length > 1) return;
      const edge = (bin) => (low + ((high - low) * bin) / bins).toFixed(2).replace("-", "\u2212");
      const rows = counts[0].map((_, bin) => [`${edge(bin)} to ${edge(bin + 1)}`, ...order.map((row) => String(counts[row][bin]))]);
      numbers.append(table(title, [["mean activation, \u03c3", ""], ...order.map((row) => [index.domains[row], "r"])], rows));
    });
    return [make("figure", {}, figure, make("figcaption", {},
      "Mean activation over a document, in standard deviations of the neuron over spans; heights are square roots of shares.")), numbers];
  }

  const clipped = (name) => (name.length > 14 ? `${name.slice(0, 13)}\u2026` : name);

  function legend(note) {
    const shades = ["n8", "n4", "n1", "", "p1", "p4", "p8"].map((name) => make("i", { class: name }));
    return make("p", { class: "scale" }, make("span", {}, "\u22128\u03c3"), make("span", { "aria-hidden": "true" }, ...shades),
      make("span", {}, "8\u03c3 and more"), make("span", {}, `${note}One scale for all neurons and models: each token's activation in standard deviations of `
        + "the neuron that reads it. The outlined words are the span that was picked."));
  }

  function contexts(title, found) {
    if (!found.length) return [];
    return [make("h3", { class: "gap" }, title), ...found.map(([, domain, z, text, start, end, readings]) => {
      const lines = readings.map(([model, neuron, code]) => make("div", { class: "reading" },
        make("span", { class: "who" }, model, make("small", {}, neuron)), make("p", { class: "tokens" }, ...tokens(text, code, start, end))));
      const about = make("p", { class: "about" }, make("span", { class: "tag" }, domain), " ", shown(z, 1), "\u03c3 at the outlined span");
      return make("div", { class: "context" }, about, ...(lines.length ? lines : [make("p", { class: "tokens" }, text)]));
    })];
  }

  // A reading is two characters a token: its length in code points, and its shade. The span is outlined wherever tokens end;
  // lines run on, their ends as arrows, so that the same words stand in the same place for every model.
  function tokens(text, code, start, end) {
    const points = Array.from(text), out = [];
    let at = 0;
    for (let place = 0; place < code.length; place += 2) {
      const length = LENGTHS.indexOf(code[place]), level = LEVELS.indexOf(code[place + 1]) - 8;
      const shade = code[place + 1] === "." || level === 0 ? "" : `${level > 0 ? "p" : "n"}${Math.abs(level)}`;
      const edges = [at, Math.min(Math.max(start, at), at + length), Math.min(Math.max(end, at), at + length), at + length];
      for (let part = 0; part < 3; part++) {
        if (edges[part] === edges[part + 1]) continue;
        const piece = points.slice(edges[part], edges[part + 1]).join("").replaceAll("\n", "\u21b5 "), marked = part === 1 ? " span" : "";
        const title = shade ? `${level > 0 ? "" : "\u2212"}${Math.abs(level)}\u03c3${Math.abs(level) === 8 ? " or more" : ""}` : null;
        out.push(shade || marked ? make("b", { class: (shade + marked).trim(), title }, piece) : piece);
      }
      at += length;
    }
    return out;
  }

  // ---- events --------------------------------------------------------------------------------------------------------

  function toggle(id) {
    if (!open.delete(id)) open.add(id);
    const button = body.querySelector(`button[data-neuron="${id}"]`), row = button.closest("tr");
    const neuron = neurons[placeOf.get(id)], expanded = open.has(id);
    button.setAttribute("aria-expanded", String(expanded));
    row.classList.toggle("opened", expanded);
    if (expanded) {
      row.after(detailOf(neuron));
      button.setAttribute("aria-controls", detailId(neuron));
    } else {
      byId(detailId(neuron)).remove();
      button.removeAttribute("aria-controls");
    }
    remember();
  }

  function start() {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { limit = PAGE; render(); });
    form.addEventListener("reset", () => setTimeout(() => { open.clear(); limit = PAGE; render(); }));
    byId("neuron-more").addEventListener("click", () => { limit += PAGE; render(); });
    body.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-neuron]");
      if (button) toggle(button.dataset.neuron);
    });
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-neuron]");
      if (!link || !placeOf.has(link.dataset.neuron)) return;
      event.preventDefault();
      for (const name of FIELDS) if (form.elements[name]?.type === "checkbox") form.elements[name].checked = false;
      for (const name of ["domain", "rho", "q"]) if (form.elements[name]) form.elements[name].value = "";
      form.elements.find.value = link.dataset.neuron;
      open.add(link.dataset.neuron);
      render();
      body.querySelector(`button[data-neuron="${link.dataset.neuron}"]`)?.focus();
    });
    const restore = () => {
      if (!recall()) return;
      render();
      (body.querySelector("tr.opened") ?? byId("neurons")).scrollIntoView();
    };
    addEventListener("hashchange", restore);
    recall();
    render();
    if (location.hash.includes("=")) restore();
  }

  function theme() {
    const button = byId("theme"), root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
    const label = () => button.setAttribute("aria-pressed", String(isDark()));
    button.hidden = false;
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
    dark.addEventListener("change", label);
    label();
  }

  theme();
  if (form) start();
})();
