"use strict";
// The timeline: who did what when, drawn on one canvas an arm; all share the time axis. No library, no request.
(() => {
  const root = document.currentScript.parentElement, at = (selector) => root.querySelector(selector);
  const LANES = ["queue", "lookup", "transfer", "prefill", "decode"], SMALL = "10px system-ui, sans-serif";
  const LANE_OF = {
    memory: "queue", source_queue: "queue", link_queue: "queue", local: "queue", gpu_queue: "queue", unfinished: "queue", question: "lookup",
    coding: "transfer", transfer: "transfer", link_delay: "transfer", unpacking: "transfer", source_compute: "prefill", prefill: "prefill", decode: "decode",
  };
  const COLOURS = {
    queue: "#9aa1a9", lookup: "#cc79a7", source_compute: "#f3cf7d", transfer: "#0072b2", prefill: "#e69f00", decode: "#009e73", mixed: "#9a9f2e",
    kernel: "#cc79a7", demand: "#0072b2", speculative: "#d55e00", shared: "#56b4e9", background: "#9aa1a9",
  };
  const LEGEND = {
    queue: "queue: waits", lookup: "lookup: asks the source", source_compute: "prefill at the source", transfer: "transfer; demand on a link",
    prefill: "prefill", decode: "decode", mixed: "prefill and decode in one step", kernel: "codec on a GPU",
    speculative: "speculative: on links, GPUs, in buffers", shared: "a link that all classes share alike", background: "background; used buffer",
  };
  const WORDS = {
    memory: "waits for memory", source_queue: "waits at the source", link_queue: "waits for its turn on the link", gpu_queue: "waits for the GPU",
    local: "waits for what is computed here", unfinished: "not finished", question: "question to the source", transfer: "on the wire",
    link_delay: "delay of the link", source_compute: "prefill at the source", coding: "coded at the source", unpacking: "decoded here by the codec",
    demand_text: "text, demand", speculative_text: "text, speculative", kernel: "codec", mixed: "prefill and decode", shared: "all classes alike",
  };
  const groups = { requests: true, links: true, "GPUs, buffers": true };
  const panels = [], css = {}, patterns = {};
  let data, view, shown, hidden = new Set(), waiting = false;

  const colourOf = (kind) => Object.keys(COLOURS).find((name) => name === kind) || ["speculative", "demand"].find((name) => kind.startsWith(name)) || LANE_OF[kind];
  const scaled = (...units) => (value) => {
    const [factor, unit] = units.find(([least]) => Math.abs(value) >= least) || units[value ? units.length - 1 : units.findIndex(([least]) => least === 1)];
    return `${Number((value / factor).toPrecision(4))} ${unit}`;
  };
  const seconds = scaled([3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]);
  const bytes = scaled([1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]);
  const bps = scaled([1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]);
  const inSeconds = (t) => data.from_s + t * data.unit_s;
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

  // -- what was packed ---------------------------------------------------------------------------------
  async function unpack() {
    const packed = Uint8Array.from(atob(at(".tl-data").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
  function track(told) { // differences of starts, and lengths -> starts and ends
    let last = 0;
    told.s = told.s.map((step) => (last += step));
    told.e = told.s.map((start, i) => start + told.d[i]);
    return told;
  }
  function prepare(arm) {
    const ofSession = new Map(arm.rows.map((row) => [row.session, Object.assign(track(row), { wires: [] })]));
    for (const link of arm.links) {
      track(link.sent);
      for (const wire of link.wires.map(track)) wire.s.forEach((_, i) => ofSession.get(wire.v[i])?.wires.push([wire, i]));
    }
    for (const server of arm.servers) if (server.gpu) track(server.gpu);
  }
  function firstAfter(ends, t) { // which span of a track is the first that ends after t
    let low = 0, high = ends.length;
    while (low < high) { const mid = (low + high) >> 1; if (ends[mid] > t) high = mid; else low = mid + 1; }
    return low;
  }
  const inView = (row) => { const i = firstAfter(row.e, view.from); return i < row.s.length && row.s[i] < view.to; };

  // -- what is where on a panel ------------------------------------------------------------------------
  function layout(arm, width) {
    const items = [];
    let y = 20;
    const put = (h, item) => { items.push({ y, h, ...item }); y += h; };
    if (groups.requests) {
      const rows = arm.rows.filter(inView), h = clamp(Math.floor(260 / (rows.length || 1)), 3, 54);
      put(18, { title: `requests (${data.rows_are} in view: ${rows.length})` });
      rows.forEach((row, i) => put(h, { row, odd: i % 2 && h > 4, label: i % Math.ceil(11 / h) ? "" : row.name }));
    }
    if (groups.links && arm.links.length) {
      put(18, { title: "links" });
      for (const link of arm.links) {
        put(11, { track: link.sent, label: link.name, of: link });
        link.wires.forEach((wire) => put(clamp(Math.floor(40 / link.wires.length), 2, 4), { track: wire, of: link, thin: true }));
        put(30, { area: link.use, of: link, unit: bps, most: data.most[`use ${link.name}`], step: true });
      }
    }
    if (groups["GPUs, buffers"] && arm.servers.length) {
      put(18, { title: "GPUs and buffers" });
      for (const server of arm.servers) {
        if (server.gpu) put(11, { track: server.gpu, label: server.name, of: server });
        put(18, { area: server.buffer, label: server.gpu ? "" : server.name, of: server, unit: bytes, most: data.most[`buffer ${server.name}`] });
      }
    }
    return { items, height: y + 4, left: width < 520 ? 62 : 104, width };
  }

  // -- drawing -----------------------------------------------------------------------------------------
  const place = (panel, t) => clamp(panel.left + ((t - view.from) / (view.to - view.from)) * (panel.width - panel.left), panel.left, panel.width);
  function fill(pen, name, fine) { // what is speculative is hatched, where there is room
    if (name !== "speculative" || fine) return COLOURS[name] || COLOURS.background;
    if (patterns[name]) return patterns[name];
    const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 }), p = tile.getContext("2d");
    p.fillStyle = COLOURS[name]; p.fillRect(0, 0, 6, 6);
    p.strokeStyle = "rgba(255,255,255,.65)"; p.beginPath(); p.moveTo(-1, 7); p.lineTo(7, -1); p.stroke();
    return (patterns[name] = pen.createPattern(tile, "repeat"));
  }
  function write(pen, text, x, y, align, colour, font = SMALL) {
    Object.assign(pen, { textAlign: align, fillStyle: colour, font });
    pen.fillText(text, x, y);
  }
  function bars(pen, panel, spans, y, h, only) {
    let last = -1, lastName = "";
    for (let i = firstAfter(spans.e, view.from); i < spans.s.length && spans.s[i] < view.to; i++) {
      const kind = data.kinds[spans.k[i]], name = colourOf(kind), x = place(panel, spans.s[i]), end = Math.max(x + 1, place(panel, spans.e[i]));
      if ((only && LANE_OF[kind] !== only) || (end <= last + 0.3 && name === lastName)) continue;
      pen.fillStyle = fill(pen, name, h <= 5 || end - x <= 3);
      pen.fillRect(x, y, end - x, h);
      [last, lastName] = [end, name];
    }
  }
  function drawRow(pen, panel, { row, y, h }) {
    const step = (h - 4) / LANES.length, spread = h >= 34;
    if (!spread) bars(pen, panel, row, y, Math.max(2, h - (h > 9 ? 5 : 1)));
    else LANES.forEach((lane, i) => {
      if (step >= 9) write(pen, lane, panel.left - 3, y + (i + 1) * step, "right", css.soft, "8.5px system-ui, sans-serif");
      bars(pen, panel, row, y + 1 + i * step, step - 1, lane);
    });
    for (const [wire, i] of h > 9 ? row.wires : []) { // below it, what is on the wire for the session
      if (wire.e[i] < view.from || wire.s[i] > view.to) continue;
      const x = place(panel, wire.s[i]);
      pen.fillStyle = COLOURS[colourOf(data.kinds[wire.k[i]])];
      pen.fillRect(x, y + h - 4, Math.max(1, place(panel, wire.e[i]) - x), 3);
    }
  }
  function drawArea(pen, panel, { area, y, h, step, most, unit }) {
    const times = data.times, full = h - 6, floor = y + h - 3, below = new Array(times.length).fill(0);
    for (const [name, values] of Object.entries(area)) {
      pen.fillStyle = fill(pen, name);
      pen.globalAlpha = name === "used" ? 0.55 : 1;
      for (let i = step ? 1 : 0; i < times.length; ) { // a mean holds for the time before its instant, the rest for the time after
        const height = values[i], under = step ? below[i] : 0, x = place(panel, step ? times[i - 1] : times[i]);
        let end = x;
        for (; i < times.length && values[i] === height && (step ? below[i] : 0) === under; i++) {
          end = place(panel, step ? times[i] : times[i + 1] ?? data.length);
          below[i] += height;
        }
        if (height && end > x) pen.fillRect(x, floor - ((under + height) / 1000) * full, end - x, (height / 1000) * full);
      }
    }
    pen.globalAlpha = 1; pen.strokeStyle = css.grid; pen.strokeRect(panel.left + 0.5, y + 2.5, panel.width - panel.left - 1, h - 5);
    if (most) write(pen, unit(most), panel.left - 3, y + 9, "right", css.soft, "9px system-ui, sans-serif");
  }
  function drawAxis(pen, panel) {
    const span = (view.to - view.from) * data.unit_s, from = inSeconds(view.from), rough = span / Math.max(3, (panel.width - panel.left) / 80);
    const steps = rough < 1 ? [1, 2, 5, 10].map((f) => f * 10 ** Math.floor(Math.log10(rough))) : [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800];
    const step = steps.find((s) => s >= rough * 0.999) || Math.ceil(rough / 86400) * 86400;
    const words = (s) => (step < 60 ? `${Number(s.toPrecision(9))} s` : s < 3600 ? `${Math.round(s / 60)} min` : `${Math.floor(s / 3600)}h${String(Math.round((s % 3600) / 60)).padStart(2, "0")}`);
    for (let s = Math.ceil(from / step - 1e-9) * step; s <= from + span; s += step) {
      const x = Math.round(place(panel, (s - data.from_s) / data.unit_s)) + 0.5;
      pen.strokeStyle = css.grid; pen.beginPath(); pen.moveTo(x, 16); pen.lineTo(x, panel.height); pen.stroke();
      if (x > panel.left + 10 && x < panel.width - 16) write(pen, words(s), x, 11, "center", css.soft);
    }
  }
  function draw(panel) {
    const { canvas } = panel, pen = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    if (!canvas.clientWidth) return;
    Object.assign(panel, layout(panel.arm, canvas.clientWidth));
    canvas.style.height = `${panel.height}px`;
    [canvas.width, canvas.height] = [panel.width, panel.height].map((each) => Math.round(each * ratio));
    pen.scale(ratio, ratio);
    pen.fillStyle = css.wash;
    for (const { y, h, track, thin, odd } of panel.items) if ((track && !thin) || odd) pen.fillRect(panel.left, y, panel.width - panel.left, h);
    drawAxis(pen, panel);
    for (const item of panel.items) {
      if (item.row) drawRow(pen, panel, item);
      else if (item.track) bars(pen, panel, item.track, item.y + (item.thin ? 0.5 : 1), item.h - (item.thin ? 1 : 2));
      else if (item.area) drawArea(pen, panel, item);
      if (item.title) write(pen, item.title, 2, item.y + 12, "left", css.soft, `italic ${SMALL}`);
      else if (item.label) write(pen, short(pen, item.label, panel.left - (item.area ? 46 : 4)), 2, item.y + Math.min(item.h, 11) - 1, "left", css.ink);
    }
  }
  function short(pen, text, room) {
    pen.font = SMALL;
    while (text.length > 3 && pen.measureText(text).width > room) text = `${text.slice(0, -2)}…`;
    return text;
  }
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const panel of panels) panel.box.hidden = !shown.has(panel.index) || hidden.has(panel.arm.place);
      const visible = panels.filter((panel) => !panel.box.hidden), [from, to] = [view.from, view.to].map(inSeconds);
      visible.forEach(draw);
      Object.assign(root.dataset, { from, to, shown: visible.map((panel) => panel.arm.name).join(",") });
      at(".tl-view").textContent = `${seconds(from)} to ${seconds(to)}`;
    });
  }

  // -- moving ------------------------------------------------------------------------------------------
  function show(from, span) {
    const length = clamp(span, Math.min(20, data.length), data.length), start = clamp(from, 0, data.length - length);
    view = { from: start, to: start + length };
    at(".tl-tip").hidden = true;
    redraw();
  }
  const zoom = (factor, where = 0.5) => {
    const span = view.to - view.from, next = clamp(span * factor, 20, data.length);
    show(view.from + (span - next) * where, next);
  };
  const pan = (part) => show(view.from + (view.to - view.from) * part, view.to - view.from);
  const all = () => show(0, data.length);
  const KEYS = { ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: all, Home: all, Escape: () => { at(".tl-tip").hidden = true; } };
  function listen(panel) {
    const { canvas } = panel, fingers = new Map(), room = () => panel.width - panel.left;
    const share = (clientX) => clamp((clientX - canvas.getBoundingClientRect().left - panel.left) / room(), 0, 1);
    canvas.addEventListener("wheel", (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (!sideways && document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      if (sideways) pan((event.deltaX || event.deltaY) / 800);
      else zoom(Math.exp(clamp(event.deltaY / 300, -1, 1)), share(event.clientX));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event.clientX); canvas.setPointerCapture(event.pointerId); tell(panel, event); });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return tell(panel, event);
      const before = [...fingers.values()], apart = (xs) => Math.max(20, Math.abs(xs[0] - xs[1]));
      fingers.set(event.pointerId, event.clientX);
      const after = [...fingers.values()];
      if (after.length > 1) return zoom(apart(before) / apart(after), share((after[0] + after[1]) / 2));
      return after[0] === before[0] ? undefined : pan((before[0] - after[0]) / room());
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => { at(".tl-tip").hidden = true; });
    canvas.addEventListener("dblclick", (event) => zoom(0.4, share(event.clientX)));
    canvas.addEventListener("keydown", (event) => { if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); } });
  }

  // -- telling -----------------------------------------------------------------------------------------
  function nearest(spans, t, slack, lane) {
    let best = -1, distance = Infinity;
    for (let i = firstAfter(spans.e, t - slack); i < spans.s.length && spans.s[i] <= t + slack; i++) {
      const off = Math.max(spans.s[i] - t, t - spans.e[i], 0);
      if (off < distance && (!lane || LANE_OF[data.kinds[spans.k[i]]] === lane)) [best, distance] = [i, off];
    }
    return best;
  }
  function ofArea({ area, of, unit, most, step }, t) {
    const after = data.times.findIndex((time) => time >= t), last = data.times.length - 1;
    const i = after < 0 ? last : step || data.times[after] === t ? after : Math.max(0, after - 1);
    const told = Object.entries(area).map(([name, values]) => `${name}: ${unit((values[i] / 1000) * most)}`);
    const counts = Object.entries(of.counts || {}).map(([name, values]) => `${name.replace("_", " ")}: ${values[i]} sequences`);
    return [of.name, `${step ? "mean until" : "at"} ${seconds(inSeconds(data.times[i]))}`, ...told, ...counts, ...(of.backlog ? [`backlog: ${bytes(of.backlog[i])}`] : [])];
  }
  function ofSpan(arm, spans, i, of) {
    const kind = data.kinds[spans.k[i]], request = spans.r ? spans.r[i] : -1, told = [WORDS[kind] || kind.replace("_", " ")];
    told.push(`${seconds((spans.e[i] - spans.s[i]) * data.unit_s)}, from ${seconds(inSeconds(spans.s[i]))}`);
    if (request >= 0) told.push(`session ${arm.sessions[request]}, turn ${arm.turns[request]}`);
    else if (spans.v?.[i] >= 0) told.push(`for session ${spans.v[i]}`);
    if (spans.b) told.push(`${bytes(spans.b[i])} on the wire`);
    if (spans.t?.[i]) told.push(`${spans.t[i].toLocaleString("en")} tokens`);
    return [...told, of ? of.name : data.names[arm.where[request]]];
  }
  function found(panel, x, y) { // what is to be told of a point of a panel
    const item = (panel.items || []).find((each) => y >= each.y && y < each.y + each.h), spans = item && (item.row || item.track);
    if (!item || x < panel.left) return null;
    const unit = (view.to - view.from) / (panel.width - panel.left), t = view.from + (x - panel.left) * unit;
    if (item.area) return ofArea(item, t);
    if (!spans) return null;
    const lane = item.row && item.h >= 34 ? LANES[clamp(Math.floor(((y - item.y) / item.h) * 5), 0, 4)] : "";
    const inLane = nearest(spans, t, 4 * unit, lane), i = inLane < 0 ? nearest(spans, t, 4 * unit, "") : inLane;
    return i < 0 ? null : ofSpan(panel.arm, spans, i, item.of);
  }
  function tell(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), frame = root.getBoundingClientRect(), tip = at(".tl-tip");
    const told = found(panel, event.clientX - box.left, event.clientY - box.top);
    tip.hidden = !told;
    if (!told) return;
    tip.replaceChildren(...told.map((textContent, i) => make(i ? "div" : "b", { textContent })));
    tip.style.left = `${clamp(event.clientX - frame.left + 14, 0, frame.width - tip.offsetWidth - 2)}px`;
    tip.style.top = `${event.clientY - frame.top + 16}px`;
  }

  // -- the frame ---------------------------------------------------------------------------------------
  const make = (tag, told, ...inside) => { const made = Object.assign(document.createElement(tag), told); made.append(...inside); return made; };
  function button(where, textContent, title, act, pressed) {
    const made = at(where).appendChild(make("button", { type: "button", textContent, title }));
    const mark = (on) => { if (on !== undefined) made.setAttribute("aria-pressed", on); };
    mark(pressed);
    made.addEventListener("click", () => { mark(act()); redraw(); });
  }
  function frame() {
    data.arms.forEach((arm, index) => {
      button(".tl-arms", arm.name, "show or hide this arm", () => { if (!shown.delete(index)) shown.add(index); return shown.has(index); }, shown.has(index));
      const canvas = make("canvas", { tabIndex: 0, role: "img", ariaLabel: `Timeline of arm ${arm.name}: requests, links, GPUs and buffers over time` });
      const told = arm.ttft_s === null ? "" : `mean time to first token ${seconds(arm.ttft_s)}, ${arm.sessions.length} requests`;
      const head = make("p", { className: "tl-arm" }, arm.name, make("span", { textContent: told }));
      const panel = { arm, index, canvas, box: at(".tl-panels").appendChild(make("div", {}, head, canvas)) };
      panels.push(panel);
      listen(panel);
    });
    for (const name of Object.keys(groups)) button(".tl-tools", name, "show or hide these", () => (groups[name] = !groups[name]), true);
    for (const [text, title, act] of [["+", "zoom in", () => zoom(0.5)], ["−", "zoom out", () => zoom(2)], ["all", "show all", all]]) button(".tl-tools", text, title, act);
    at(".tl-tools").append(make("span", { className: "tl-view" }));
    const used = new Set([...data.kinds.map(colourOf), "background"]);
    for (const name of Object.keys(LEGEND).filter((each) => used.has(each))) {
      const swatch = make("i", {});
      swatch.style.background = name === "speculative" ? `repeating-linear-gradient(135deg, ${COLOURS[name]} 0 3px, #f3b48a 3px 4.4px)` : COLOURS[name];
      at(".tl-legend").append(make("li", {}, swatch, LEGEND[name]));
    }
  }
  function theme() {
    for (const name of ["ink", "soft", "grid", "wash"]) css[name] = getComputedStyle(root).getPropertyValue(`--tl-${name}`).trim();
  }
  async function start() {
    if (!("DecompressionStream" in window)) { at(".tl-panels").textContent = "The timeline needs a browser of 2023 or later."; return; }
    data = await unpack();
    data.arms.forEach(prepare);
    shown = new Set(data.shown);
    view = { from: 0, to: data.length };
    theme(); frame(); redraw();
    document.addEventListener("simkv:arms", (event) => { hidden = new Set(event.detail.hidden); redraw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); redraw(); });
    new ResizeObserver(redraw).observe(root);
  }
  start();
})();
