"use strict";
// The timeline: who did what when, drawn on one canvas an arm; all share the time axis. No library, no request.
(() => {
  const root = document.currentScript.parentElement;
  const at = (selector) => root.querySelector(selector);
  const LANES = ["queue", "lookup", "transfer", "prefill", "decode"];
  const COLOURS = {
    queue: "#9aa1a9", lookup: "#cc79a7", transfer: "#0072b2", prefill: "#e69f00", source_compute: "#f3cf7d", decode: "#009e73",
    mixed: "#9a9f2e", kernel: "#cc79a7", demand: "#0072b2", background: "#9aa1a9", shared: "#56b4e9", speculative: "#d55e00",
  };
  const LEGEND = [
    ["queue", "queue: waits"], ["lookup", "lookup: asks the source"], ["source_compute", "prefill at the source"],
    ["transfer", "transfer; demand on a link"], ["prefill", "prefill"], ["decode", "decode"], ["mixed", "prefill and decode in one step"],
    ["kernel", "codec on a GPU"], ["speculative", "speculative, on links, GPUs and in buffers"], ["background", "background; used buffer"],
  ];
  const LANE_OF = {
    memory: "queue", source_queue: "queue", link_queue: "queue", local: "queue", gpu_queue: "queue", unfinished: "queue",
    question: "lookup", transfer: "transfer", link_delay: "transfer", source_compute: "prefill", prefill: "prefill", decode: "decode",
  };
  const WORDS = {
    memory: "waits for memory", source_queue: "waits at the source", link_queue: "waits for its turn on the link", gpu_queue: "waits for the GPU",
    local: "waits for what is computed here", unfinished: "not finished", question: "question to the source", transfer: "on the wire", link_delay: "delay of the link",
    source_compute: "prefill at the source", demand_text: "text, demand", speculative_text: "text, speculative", speculative_prefill: "speculative prefill",
    speculative_kernel: "speculative codec", kernel: "codec", mixed: "prefill and decode", shared: "all classes alike",
  };
  const groups = { requests: true, links: true, servers: true };
  let data, view, shown, hidden = new Set(), css = {}, patterns = {}, waiting = false, panels = [];

  const colourOf = (kind) =>
    kind.startsWith("speculative") ? "speculative" : kind.startsWith("demand") ? "demand" : COLOURS[kind] ? kind : LANE_OF[kind] || "queue";
  const scaled = (value, units) => {
    const found = units.find(([factor]) => Math.abs(value) >= factor) || units[units.length - 1];
    return `${Number((value / found[0]).toPrecision(4))} ${found[1]}`;
  };
  const seconds = (s) => (s === 0 ? "0 s" : scaled(s, [[3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]]));
  const bytes = (b) => scaled(b, [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]]);
  const bps = (b) => scaled(b, [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]]);
  const inSeconds = (t) => data.from_s + t * data.unit_s;

  async function unpack() {
    const packed = Uint8Array.from(atob(at(".tl-data").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
  function track(told) { // differences of starts, and lengths -> starts and ends
    if (!told) return null;
    let last = 0;
    told.s = told.s.map((step) => (last += step));
    told.e = told.s.map((start, i) => start + told.d[i]);
    return told;
  }
  function prepare() {
    for (const arm of data.arms) {
      arm.rows.forEach(track);
      const ofSession = new Map(arm.rows.map((row) => [row.session, row]));
      for (const row of arm.rows) row.wires = [];
      for (const link of arm.links) {
        track(link.sent);
        for (const wire of link.wires.map(track)) {
          wire.s.forEach((_, i) => { const row = ofSession.get(wire.v[i]); if (row) row.wires.push([wire, i]); });
        }
      }
      for (const server of arm.servers) track(server.gpu);
    }
  }
  // first span of a track that ends after t
  function firstAfter(ends, t) {
    let low = 0, high = ends.length;
    while (low < high) { const mid = (low + high) >> 1; if (ends[mid] > t) high = mid; else low = mid + 1; }
    return low;
  }
  const touches = (row) => { const i = firstAfter(row.e, view.from); return i < row.s.length && row.s[i] < view.to; };

  // -- what is where on a panel ------------------------------------------------------------------------
  function layout(arm, width) {
    const items = [], left = width < 520 ? 58 : 104;
    let y = 20;
    const put = (h, item) => { items.push({ y, h, ...item }); y += h; };
    if (groups.requests) {
      const rows = arm.rows.filter(touches), h = Math.max(3, Math.min(48, Math.floor(250 / Math.max(1, rows.length))));
      put(15, { title: `requests (${rows.length} ${data.rows_are} in view)` });
      rows.forEach((row, i) => put(h, { row, label: i % Math.ceil(11 / h) === 0 ? row.name : "" }));
    }
    if (groups.links && arm.links.length) {
      put(17, { title: "links" });
      for (const link of arm.links) {
        put(11, { track: link.sent, label: link.name, of: link, says: "link" });
        link.wires.forEach((wire) => put(Math.max(2, Math.min(4, Math.floor(40 / link.wires.length))), { track: wire, of: link, says: "wire" }));
        put(30, { area: link.use, of: link, unit: bps, key: `use ${link.name}`, step: true });
      }
    }
    if (groups.servers && arm.servers.length) {
      put(17, { title: "GPUs and buffers" });
      for (const server of arm.servers) {
        if (server.gpu) put(11, { track: server.gpu, label: server.name, of: server, says: "gpu" });
        put(18, { area: server.buffer, label: server.gpu ? "" : server.name, of: server, unit: bytes, key: `buffer ${server.name}` });
      }
    }
    return { items, height: y + 4, left };
  }

  // -- drawing -----------------------------------------------------------------------------------------
  function hatched(pen, name) {
    if (!patterns[name]) {
      const tile = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
      tile.width = tile.height = 5 * ratio;
      const p = tile.getContext("2d");
      p.scale(ratio, ratio);
      p.fillStyle = COLOURS[name]; p.fillRect(0, 0, 5, 5);
      p.strokeStyle = "rgba(255,255,255,.65)"; p.lineWidth = 1;
      p.beginPath(); p.moveTo(-1, 6); p.lineTo(6, -1); p.stroke();
      patterns[name] = pen.createPattern(tile, "repeat");
      patterns[name].setTransform(new DOMMatrix().scale(1 / ratio));
    }
    return patterns[name];
  }
  function bars(pen, panel, spans, y, h, only) {
    const { left, width } = panel, scale = (width - left) / (view.to - view.from);
    let last = -1, lastName = "";
    for (let i = firstAfter(spans.e, view.from); i < spans.s.length && spans.s[i] < view.to; i++) {
      const kind = data.kinds[spans.k[i]];
      if (only && LANE_OF[kind] !== only) continue;
      const name = colourOf(kind), x = Math.max(left, left + (spans.s[i] - view.from) * scale);
      const end = Math.max(x + 1, Math.min(width, left + (spans.e[i] - view.from) * scale));
      if (end <= last + 0.3 && name === lastName) continue;
      pen.fillStyle = name === "speculative" && h > 5 && end - x > 3 ? hatched(pen, name) : COLOURS[name];
      pen.fillRect(x, y, end - x, h);
      last = end; lastName = name;
    }
  }
  function drawRow(pen, panel, item) {
    const { row, y, h } = item;
    if (h >= 34) LANES.forEach((lane, i) => bars(pen, panel, row, y + 1 + (i * (h - 4)) / 5, (h - 4) / 5 - 1, lane));
    else bars(pen, panel, row, y, Math.max(2, h - (h > 9 ? 5 : 1)));
    const scale = (panel.width - panel.left) / (view.to - view.from);
    for (const [wire, i] of h > 9 ? row.wires : []) {
      if (wire.e[i] < view.from || wire.s[i] > view.to) continue;
      const x = Math.max(panel.left, panel.left + (wire.s[i] - view.from) * scale);
      pen.fillStyle = COLOURS[colourOf(data.kinds[wire.k[i]])];
      pen.fillRect(x, y + h - 4, Math.max(1, Math.min(panel.width, panel.left + (wire.e[i] - view.from) * scale) - x), 3);
    }
  }
  function drawArea(pen, panel, item) {
    const { left, width } = panel, scale = (width - left) / (view.to - view.from), top = data.most[item.key] || 0;
    const floor = item.y + item.h - 3, full = item.h - 6, times = data.times;
    const below = new Array(times.length).fill(0);
    for (const [name, values] of Object.entries(item.area)) {
      pen.fillStyle = name === "speculative" ? hatched(pen, name) : COLOURS[name] || COLOURS.background;
      pen.globalAlpha = name === "used" ? 0.55 : 1;
      for (let i = item.step ? 1 : 0; i < times.length; i++) {
        const from = item.step ? times[i - 1] : times[i], to = item.step ? times[i] : (times[i + 1] ?? data.length);
        if (!values[i] || to < view.from || from > view.to) continue;
        const x = Math.max(left, left + (from - view.from) * scale), end = Math.min(width, left + (to - view.from) * scale);
        const height = (values[i] / 1000) * full, under = item.step ? below[i] : 0; // a buffer's speculative part is within its use
        pen.fillRect(x, floor - ((under / 1000) * full) - height, end - x + 0.5, height);
        below[i] += values[i];
      }
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = css.grid; pen.strokeRect(left + 0.5, item.y + 2.5, width - left - 1, item.h - 5);
    pen.fillStyle = css.soft; pen.textAlign = "right"; pen.font = "9px system-ui, sans-serif";
    if (top) pen.fillText(item.unit(top), left - 3, item.y + 9);
  }
  function drawAxis(pen, panel) {
    const { left, width, height } = panel, span = (view.to - view.from) * data.unit_s, from = inSeconds(view.from);
    const rough = span / Math.max(2, (width - left) / 95), ten = 10 ** Math.floor(Math.log10(rough));
    const clock = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].find((s) => s >= rough);
    const step = rough < 1 ? [1, 2, 5, 10].map((f) => f * ten).find((s) => s >= rough * 0.999) : clock || ten * 10;
    pen.textAlign = "center"; pen.font = "10px system-ui, sans-serif"; pen.strokeStyle = css.grid; pen.lineWidth = 1;
    for (let s = Math.ceil(from / step - 1e-9) * step; s <= from + span * 1.0001; s += step) {
      const x = Math.round(left + ((s - from) / span) * (width - left)) + 0.5;
      pen.beginPath(); pen.moveTo(x, 16); pen.lineTo(x, height); pen.stroke();
      pen.fillStyle = css.soft;
      if (x > left + 10 && x < width - 14) pen.fillText(step >= 60 ? clockText(s) : `${Number(s.toPrecision(9))} s`, x, 11);
    }
  }
  const clockText = (s) => (s >= 3600 ? `${Math.floor(s / 3600)}h${String(Math.round((s % 3600) / 60)).padStart(2, "0")}` : `${Math.round(s / 60)} min`);
  function draw(panel) {
    const pen = panel.canvas.getContext("2d"), width = panel.canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    if (!width) return;
    Object.assign(panel, layout(panel.arm, width), { width });
    panel.canvas.style.height = `${panel.height}px`;
    panel.canvas.width = Math.round(width * ratio); panel.canvas.height = Math.round(panel.height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawAxis(pen, panel);
    for (const item of panel.items) {
      if (item.row) drawRow(pen, panel, item);
      else if (item.track) bars(pen, panel, item.track, item.y + (item.says === "wire" ? 0.5 : 1), item.h - (item.says === "wire" ? 1 : 2));
      else if (item.area) drawArea(pen, panel, item);
      pen.textBaseline = "alphabetic";
      if (item.title) {
        pen.fillStyle = css.soft; pen.textAlign = "left"; pen.font = "italic 10px system-ui, sans-serif";
        pen.fillText(item.title, 2, item.y + 12);
      } else if (item.label) {
        pen.fillStyle = css.ink; pen.textAlign = "left"; pen.font = "10px system-ui, sans-serif";
        pen.fillText(short(pen, item.label, panel.left - (item.area ? 40 : 4)), 2, item.y + Math.min(item.h, 11) - 1);
      }
    }
  }
  function short(pen, text, room) {
    while (text.length > 3 && pen.measureText(text).width > room) text = `${text.slice(0, -2)}…`;
    return text;
  }
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      panels.forEach((panel) => { panel.box.hidden = !shown.has(panel.index) || hidden.has(panel.arm.place); });
      panels.filter((panel) => !panel.box.hidden).forEach(draw);
      root.dataset.from = inSeconds(view.from); root.dataset.to = inSeconds(view.to);
      root.dataset.shown = panels.filter((panel) => !panel.box.hidden).map((panel) => panel.arm.name).join(",");
      at(".tl-view").textContent = `${seconds(inSeconds(view.from))} to ${seconds(inSeconds(view.to))}`;
    });
  }

  // -- moving ------------------------------------------------------------------------------------------
  function show(from, to) {
    const span = Math.min(data.length, Math.max(20, to - from));
    const start = Math.min(Math.max(0, from + (to - from - span) / 2), data.length - span);
    view = { from: start, to: start + span };
    at(".tl-tip").hidden = true;
    redraw();
  }
  const zoom = (factor, where = 0.5) => {
    const span = view.to - view.from, middle = view.from + span * where;
    show(middle - span * factor * where, middle + span * factor * (1 - where));
  };
  const pan = (share) => { const by = (view.to - view.from) * share; const from = Math.min(Math.max(0, view.from + by), data.length - (view.to - view.from)); show(from, from + view.to - view.from); };
  const share = (panel, event) => Math.min(1, Math.max(0, (event.clientX - panel.canvas.getBoundingClientRect().left - panel.left) / (panel.width - panel.left)));
  function listen(panel) {
    const { canvas } = panel, fingers = new Map();
    canvas.addEventListener("wheel", (event) => {
      const mine = document.activeElement === canvas || event.ctrlKey || event.metaKey;
      if (!mine && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return; // the page scrolls
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 800);
      else zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), share(panel, event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event.clientX); canvas.setPointerCapture(event.pointerId); tell(panel, event); });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) { tell(panel, event); return; }
      const before = [...fingers.values()];
      fingers.set(event.pointerId, event.clientX);
      const after = [...fingers.values()];
      if (after.length === 1) { if (after[0] !== before[0]) pan((before[0] - after[0]) / (panel.width - panel.left)); return; }
      const apart = (xs) => Math.max(20, Math.abs(xs[0] - xs[1]));
      zoom(apart(before) / apart(after), share(panel, { clientX: (after[0] + after[1]) / 2 }));
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => { at(".tl-tip").hidden = true; });
    canvas.addEventListener("dblclick", (event) => zoom(0.4, share(panel, event)));
    canvas.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: () => show(0, data.length), Home: () => show(0, data.length), Escape: () => { at(".tl-tip").hidden = true; } };
      if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    });
  }

  // -- telling -----------------------------------------------------------------------------------------
  function nearest(spans, t, slack, lane) {
    let best = -1, distance = slack;
    for (let i = firstAfter(spans.e, t - slack); i < spans.s.length && spans.s[i] <= t + slack; i++) {
      if (lane && LANE_OF[data.kinds[spans.k[i]]] !== lane) continue;
      const off = Math.max(spans.s[i] - t, t - spans.e[i], 0);
      if (off < distance || best < 0) { best = i; distance = off; }
    }
    return best;
  }
  function lines(arm, item, t, slack, inside) {
    if (item.area) {
      let i = data.times.findIndex((time) => time >= t);
      if (i < 0 || (!item.step && i > 0 && data.times[i] > t)) i = Math.max(0, (i < 0 ? data.times.length : i) - 1);
      const top = data.most[item.key] || 0;
      const told = Object.entries(item.area).map(([name, values]) => `${name}: ${item.unit((values[i] / 1000) * top)}`);
      const size = item.of.size_bytes ? [`room: ${bytes(item.of.size_bytes)}`] : [];
      const more = Object.entries(item.of.counts || item.of.backlog || {}).map(([name, values]) => `${name}: ${item.of.counts ? values[i] : bytes(values[i])}`);
      return [item.of.name, `at ${seconds(inSeconds(data.times[i]))}`, ...told, ...size, ...more];
    }
    const spans = item.row || item.track;
    if (!spans) return null;
    const lane = item.row && item.h >= 34 ? LANES[Math.min(4, Math.floor((inside / item.h) * 5))] : "";
    let i = nearest(spans, t, slack, lane);
    if (i < 0 && lane) i = nearest(spans, t, slack, "");
    if (i < 0) return null;
    const kind = data.kinds[spans.k[i]], request = spans.r ? spans.r[i] : -1;
    const told = [WORDS[kind] || kind.replace("_", " "), `${seconds((spans.e[i] - spans.s[i]) * data.unit_s)}, from ${seconds(inSeconds(spans.s[i]))}`];
    if (request >= 0) told.push(`session ${arm.sessions[request]}, turn ${arm.turns[request]}`);
    else if (spans.v && spans.v[i] >= 0) told.push(`for session ${spans.v[i]}`);
    if (spans.b) told.push(`${bytes(spans.b[i])} on the wire`);
    if (spans.t && spans.t[i]) told.push(`${spans.t[i].toLocaleString("en")} tokens`);
    told.push(item.row ? data.names[arm.where[request]] : item.of.name);
    return told;
  }
  function tell(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), tip = at(".tl-tip"), y = event.clientY - box.top, x = event.clientX - box.left;
    const item = panel.items && panel.items.find((each) => y >= each.y && y < each.y + each.h);
    const scale = (view.to - view.from) / (panel.width - panel.left);
    const told = item && x >= panel.left ? lines(panel.arm, item, view.from + (x - panel.left) * scale, 4 * scale, y - item.y) : null;
    tip.hidden = !told;
    if (!told) return;
    tip.replaceChildren(...told.map((text, i) => Object.assign(document.createElement(i ? "div" : "b"), { textContent: text })));
    const frame = root.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(event.clientX - frame.left + 14, frame.width - tip.offsetWidth - 2))}px`;
    tip.style.top = `${event.clientY - frame.top + 16}px`;
  }

  // -- the frame ---------------------------------------------------------------------------------------
  function button(place, text, pressed, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    if (pressed !== null) made.setAttribute("aria-pressed", pressed);
    made.addEventListener("click", () => act(made));
    place.append(made);
    return made;
  }
  const toggle = (made, on) => { made.setAttribute("aria-pressed", on); redraw(); };
  function theme() {
    const style = getComputedStyle(root);
    for (const name of ["ink", "soft", "grid"]) css[name] = style.getPropertyValue(`--tl-${name}`).trim();
  }
  function frame() {
    data.arms.forEach((arm, index) => {
      button(at(".tl-arms"), arm.name, shown.has(index), (made) => { if (!shown.delete(index)) shown.add(index); toggle(made, shown.has(index)); });
      const box = document.createElement("div"), head = Object.assign(document.createElement("p"), { className: "tl-arm", textContent: arm.name });
      head.append(Object.assign(document.createElement("span"), { textContent: arm.ttft_s === null ? "" : `mean time to first token ${seconds(arm.ttft_s)} (${arm.sessions.length} requests)` }));
      const canvas = Object.assign(document.createElement("canvas"), { tabIndex: 0 });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Timeline of arm ${arm.name}: requests, links, GPUs and buffers over time`);
      box.append(head, canvas);
      at(".tl-panels").append(box);
      const panel = { arm, index, box, canvas };
      panels.push(panel);
      listen(panel);
    });
    const tools = at(".tl-tools");
    for (const name of Object.keys(groups)) button(tools, name === "servers" ? "GPUs, buffers" : name, true, (made) => toggle(made, (groups[name] = !groups[name])));
    button(tools, "+", null, () => zoom(0.5)).setAttribute("aria-label", "zoom in");
    button(tools, "−", null, () => zoom(2)).setAttribute("aria-label", "zoom out");
    button(tools, "all", null, () => show(0, data.length)).setAttribute("aria-label", "show all");
    tools.append(Object.assign(document.createElement("span"), { className: "tl-view" }));
    const kinds = new Set(data.kinds.map(colourOf));
    for (const [name, text] of LEGEND.filter(([each]) => kinds.has(each) || each === "background")) {
      const entry = document.createElement("li"), swatch = document.createElement("i");
      swatch.style.background = name === "speculative" ? `repeating-linear-gradient(135deg, ${COLOURS[name]} 0 3px, #f3b48a 3px 4.4px)` : COLOURS[name];
      entry.append(swatch, text);
      at(".tl-legend").append(entry);
    }
  }
  async function start() {
    if (!("DecompressionStream" in window)) { at(".tl-panels").textContent = "The timeline needs a browser of 2023 or later."; return; }
    data = await unpack();
    prepare();
    shown = new Set(data.shown);
    view = { from: 0, to: data.length };
    theme(); frame();
    document.addEventListener("simkv:arms", (event) => { hidden = new Set(event.detail.hidden); redraw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); redraw(); });
    new ResizeObserver(redraw).observe(root);
    redraw();
  }
  start();
})();
