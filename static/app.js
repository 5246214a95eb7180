// Quartermaster console. Loaded in <head> without defer: the theme is set before the first paint.
(() => {
  "use strict";
  const root = document.documentElement;
  const store = { get: (k) => { try { return localStorage.getItem(k); } catch { return null; } }, set: (k, v) => { try { localStorage.setItem(k, v); } catch { /* private mode */ } } };

  // ---- theme: light, dark or auto ----
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const choice = () => store.get("qm-theme") || "auto";
  function applyTheme() {
    const c = choice();
    root.dataset.bsTheme = c === "auto" ? (systemDark.matches ? "dark" : "light") : c;
  }
  applyTheme();
  systemDark.addEventListener("change", () => { applyTheme(); drawAll(); });

  // ---- figures: one template for both themes; colours are token names in the JSON ----
  const token = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // "var:--c1" anywhere in a figure becomes the colour of the current theme
  const paint = (x) => typeof x === "string" ? (x.startsWith("var:") ? token(x.slice(4)) : x)
    : Array.isArray(x) ? x.map(paint)
    : x && typeof x === "object" ? Object.fromEntries(Object.entries(x).map(([k, v]) => [k, paint(v)])) : x;

  function template() {
    const axis = { color: token("--axis"), gridcolor: token("--grid"), linecolor: token("--line-2"), zeroline: false, ticks: "", tickfont: { size: 11 }, automargin: false, fixedrange: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, bargap: 0.18, barmode: "stack",
      font: { family: "Inter QM, system-ui, sans-serif", size: 11, color: token("--ink-2") },
      margin: { l: 48, r: 12, t: 10, b: 24 }, hovermode: "x unified",
      hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line-2"), font: { color: token("--ink"), size: 12 } },
      xaxis: { ...axis, showgrid: false }, yaxis: { ...axis, rangemode: "tozero", nticks: 5 }, separators: ".,",
    };
  }
  const merge = (a, b) => {
    const out = { ...a };
    for (const [k, v] of Object.entries(b || {})) out[k] = v && typeof v === "object" && !Array.isArray(v) && a[k] && typeof a[k] === "object" ? merge(a[k], v) : v;
    return out;
  };
  // The vendor's button that uploads a figure is on by default: keep it off.
  const CONFIG = { displaylogo: false, showSendToCloud: false, plotlyServerURL: "", responsive: true, displayModeBar: false };

  function draw(el) {
    const source = document.getElementById(el.dataset.fig);
    if (!source) return;
    const fig = JSON.parse(source.textContent);
    const layout = merge(template(), paint(fig.layout));
    for (const k of Object.keys(layout)) if (/^[xy]axis\d$/.test(k)) layout[k] = merge(layout[k[0] + "axis"], layout[k]);
    const data = paint(fig.data);
    for (const t of data) if (t.marker && t.marker.pattern) t.marker.pattern = { fgcolor: token("--hole"), size: 5, solidity: 0.28, fillmode: "overlay", ...t.marker.pattern };
    window.Plotly.react(el, data, layout, { ...CONFIG, staticPlot: "static" in el.dataset });
  }
  function drawAll() { if (window.Plotly) document.querySelectorAll("[data-drawn]").forEach(draw); }

  // The chart library is fetched only by pages that have a chart.
  let plotly = null;
  function withPlotly() {
    if (!plotly) plotly = new Promise((done, failed) => {
      const tag = document.createElement("script");
      tag.src = document.querySelector("meta[name=qm-plotly]").content;
      tag.onload = done; tag.onerror = failed;
      document.head.append(tag);
    });
    return plotly;
  }
  const seen = new IntersectionObserver((list) => list.forEach((e) => {
    if (!e.isIntersecting) return;
    seen.unobserve(e.target);
    withPlotly().then(() => { if (e.target.isConnected) { e.target.dataset.drawn = ""; draw(e.target); } });
  }), { rootMargin: "400px" });

  // ---- ages: "4 s ago" goes on counting; the absolute time stays in the title ----
  function age(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
    return `${Math.floor(s / 86400)} d`;
  }
  // The server's clock counts, not the reader's: `skew` is the difference seen at load.
  let skew = 0;
  function tick() {
    const now = Date.now() + skew;
    document.querySelectorAll("time[data-ago]").forEach((t) => {
      const s = (now - Date.parse(t.dateTime)) / 1000;
      const text = s < -1 ? `in ${age(-s)}` : t.dataset.ago === "bare" ? age(s) : `${age(s)} ago`;
      if (t.textContent !== text) t.textContent = text;
    });
  }
  function localTitles(scope) {
    scope.querySelectorAll("time[title]:not([data-local])").forEach((t) => {
      t.dataset.local = "";
      t.title += ` (${new Date(t.dateTime).toLocaleString()} here)`;
    });
  }

  // Called for the whole page, and again for each fragment that htmx brings.
  function prepare(scope) {
    const all = (q) => [...(scope.matches && scope.matches(q) ? [scope] : []), ...scope.querySelectorAll(q)];
    all("[data-fig]").forEach((el) => seen.observe(el));
    all("[data-typed]").forEach(checkTyped);
    all("[popovertarget]").forEach(placePopover);
    localTitles(scope);
    markChoices();
    tick();
  }
  function placePopover(b) {
    const p = document.getElementById(b.getAttribute("popovertarget"));
    if (!p || p.dataset.placed) return;
    p.dataset.placed = "1";
    p.addEventListener("toggle", (ev) => {
      const open = ev.newState === "open"; b.setAttribute("aria-expanded", String(open));
      if (open) { const r = b.getBoundingClientRect(); p.style.top = `${r.bottom + 4}px`; p.style.left = `${Math.max(8, Math.min(r.left, innerWidth - p.offsetWidth - 8))}px`; }
    });
  }
  function markChoices() {
    document.querySelectorAll("[data-theme-set]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.themeSet === choice())));
    document.querySelectorAll("[data-refresh-set]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.refreshSet === refresh())));
    const label = document.getElementById("refresh-now");
    if (label) label.textContent = { live: "Live", slow: "1 min", off: "Off" }[refresh()];
  }
  // A dangerous button stays off until the object's name is typed; the server checks it again.
  function checkTyped(input) { input.form.querySelector("[data-typed-go]").disabled = input.value.trim() !== input.dataset.typed; }

  const ready = (f) => document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", f) : f();
  ready(() => {
    const at = document.querySelector("meta[name=qm-now]");
    if (at) skew = Date.parse(at.content) - Date.now();
    prepare(document.body);
    setInterval(tick, 1000);
    document.addEventListener("click", clicked);
    document.addEventListener("input", (ev) => { if (ev.target.matches("[data-typed]")) checkTyped(ev.target); if (ev.target.id === "pal-q") find(ev.target.value); });
    document.addEventListener("change", (ev) => {
      if (ev.target.matches("[data-col]")) document.querySelectorAll(`[data-c="${ev.target.dataset.col}"]`).forEach((c) => { c.hidden = !ev.target.checked; });
      if (ev.target.matches("[data-submit]")) ev.target.form.requestSubmit();
      if (ev.target.matches("[data-check-all]")) ev.target.closest("table").querySelectorAll("tbody input[type=checkbox]").forEach((c) => { c.checked = ev.target.checked; });
    });
    document.addEventListener("keydown", pressed);
  });

  function clicked(ev) {
    const b = ev.target.closest("[data-theme-set],[data-refresh-set],[data-view],[data-copy],[data-csv],[data-pal],[data-burger],[data-dialog],[data-close],[data-dismiss],[data-print]");
    if (!b) return;
    const d = b.dataset;
    if (d.themeSet) { store.set("qm-theme", d.themeSet); applyTheme(); markChoices(); drawAll(); }
    if (d.refreshSet) { store.set("qm-refresh", d.refreshSet); markChoices(); }
    if (d.view) show(b);
    if (d.copy) copy(d.copy);
    if (d.csv) csv(document.getElementById(d.csv));
    if ("pal" in d) palette();
    if ("burger" in d) { const open = document.querySelector(".side-nav").classList.toggle("open"); b.setAttribute("aria-expanded", String(open)); }
    if (d.dialog) openDialog(document.getElementById(d.dialog));
    if ("close" in d) b.closest("dialog").close();
    if ("dismiss" in d) b.closest(".msg").remove();
    if ("print" in d) window.print();
  }
  function openDialog(dialog) {
    dialog.showModal();
    const first = dialog.querySelector("input:not([type=hidden]),textarea,select");
    if (first) first.focus();
  }
  async function copy(text) {
    try { await navigator.clipboard.writeText(text); say("Copied"); }
    catch { say("The browser did not allow copying: select the text instead"); }
  }
  function say(text) { document.getElementById("say").textContent = text; }
  function show(button) { // chart or its table twin
    const card = button.closest("[data-twin]"); card.dataset.mode = button.dataset.view;
    card.querySelectorAll("[data-view]").forEach((x) => x.setAttribute("aria-pressed", String(x === button)));
    card.querySelectorAll("[data-pane]").forEach((p) => { p.hidden = p.dataset.pane !== button.dataset.view; });
    if (button.dataset.view === "chart") card.querySelectorAll("[data-drawn]").forEach((el) => window.Plotly.Plots.resize(el));
  }
  function csv(table) {
    // A cell that a spreadsheet would run as a formula gets a quote in front; a number below zero, the sign that it reads.
    const safe = (t) => /^[=+@\t\r]|^-(?![\d.])/.test(t) ? `'${t}` : t.replace(/^−(?=[\d.,]+$)/, "-");
    const rows = [...table.rows].map((r) => [...r.cells].map((c) => `"${safe(c.innerText.trim().replace(/\s+/g, " ")).replaceAll('"', '""')}"`).join(","));
    const a = document.createElement("a");
    a.href = URL.createObjectURL(new Blob([rows.join("\r\n")], { type: "text/csv" })); a.download = `${table.id}.csv`; a.click(); URL.revokeObjectURL(a.href);
  }

  // ---- keyboard: Ctrl-K opens the palette, / too; arrows move in it ----
  function pressed(ev) {
    if ((ev.metaKey || ev.ctrlKey) && ev.key.toLowerCase() === "k") { ev.preventDefault(); palette(); return; }
    const pal = document.getElementById("pal");
    if (pal && pal.open && (ev.key === "ArrowDown" || ev.key === "ArrowUp")) {
      const links = [...pal.querySelectorAll("li:not([hidden]) a")];
      const next = links.indexOf(document.activeElement) + (ev.key === "ArrowDown" ? 1 : -1);
      ev.preventDefault();
      (next < 0 ? document.getElementById("pal-q") : links[Math.min(next, links.length - 1)])?.focus();
    }
    if (pal && pal.open && ev.key === "Enter" && ev.target.id === "pal-q") pal.querySelector("li:not([hidden]) a")?.click();
  }
  function palette() {
    const d = document.getElementById("pal");
    if (!d) return;
    if (d.open) { d.close(); return; }
    d.showModal(); document.getElementById("pal-q").focus();
  }
  let asked = 0;
  function find(text) {
    const q = text.trim().toLowerCase();
    document.querySelectorAll("#pal-pages li").forEach((li) => { li.hidden = !li.textContent.toLowerCase().includes(q); });
    const hits = document.getElementById("pal-hits");
    const url = hits && hits.dataset.search;
    const turn = ++asked;
    if (hits) hits.replaceChildren(); // Enter must never open a hit of an older question
    if (!url || q.length < 2) return;
    setTimeout(async () => {
      if (turn !== asked) return; // more was typed meanwhile
      const answer = await fetch(`${url}?q=${encodeURIComponent(q)}`, { headers: { Accept: "application/json" } });
      if (!answer.ok || turn !== asked) return;
      const { results } = await answer.json();
      hits.replaceChildren(...results.map((r) => {
        const li = document.createElement("li"), a = document.createElement("a"), small = document.createElement("small");
        a.href = r.url; a.textContent = r.title; small.textContent = r.kind; a.append(small); li.append(a);
        return li;
      }));
    }, 150);
  }

  // ---- live fragments: polled by htmx, never under the reader's hands ----
  const refresh = () => store.get("qm-refresh") || "live";
  const last = {}, opened = Date.now(); // when each fragment was asked for
  document.addEventListener("htmx:beforeRequest", (ev) => {
    const el = ev.detail.elt;
    if (!el.matches("[data-live]")) return;
    const busy = document.hidden || document.querySelector("dialog[open]") || el.querySelector(":popover-open") || (el.contains(document.activeElement) && document.activeElement.matches("input,select,textarea")) || (getSelection().toString() && el.contains(getSelection().anchorNode));
    const rate = refresh();
    if (busy || rate === "off" || (rate === "slow" && Date.now() - (last[el.id] || opened) < 60000)) { ev.preventDefault(); return; }
    last[el.id] = Date.now();
  });
  // Where the focus and the scroll positions were: they survive the swap. What had the focus is found
  // by its name and where it leads, then by its place, which a line that comes above it changes.
  const pathOf = (el, top) => { const p = []; for (let x = el; x !== top; x = x.parentElement) p.unshift([...x.parentElement.children].indexOf(x)); return p; };
  const follow = (path, top) => path.reduce((x, i) => x && x.children[i], top);
  const nameOf = (el) => [el.id, el.getAttribute("href"), el.getAttribute("name"), el.getAttribute("value"), el.getAttribute("aria-label") || el.textContent.trim()].join("\n");
  const alike = (tag, name, top) => [...top.querySelectorAll(tag)].filter((x) => nameOf(x) === name);
  function placeOf(el, top) {
    if (!top || !top.contains(el) || el === top) return null;
    const tag = el.tagName, name = nameOf(el);
    return { tag, name, turn: alike(tag, name, top).indexOf(el), path: pathOf(el, top) };
  }
  function found(place, top) {
    const same = alike(place.tag, place.name, top), there = follow(place.path, top);
    return same[Math.min(place.turn, same.length - 1)] || (there && there.tagName === place.tag ? there : null);
  }
  let kept = null;
  document.addEventListener("htmx:beforeSwap", (ev) => {
    const el = ev.detail.target;
    if (!el.matches || !el.matches("[data-live]")) return;
    // A signed-out session answers with the sign-in page: go there as a whole.
    if (!ev.detail.serverResponse.includes(`id="${el.id}"`)) { ev.detail.shouldSwap = false; if (ev.detail.xhr.status === 200) location.reload(); return; }
    kept = {
      id: el.id, focus: placeOf(document.activeElement, el), head: placeOf(document.activeElement, document.getElementById("page-head")), // may be swapped along
      scrolls: [...el.querySelectorAll(".tw,.log,.h-scroll")].map((s) => [s.scrollLeft, s.scrollTop]),
      twins: [...el.querySelectorAll("[data-twin]")].map((t) => t.dataset.mode),
      open: [...el.querySelectorAll("summary")].map((t) => ({ place: placeOf(t, el), open: t.parentElement.open })),
    };
    if (window.Plotly) el.querySelectorAll("[data-drawn]").forEach((p) => window.Plotly.purge(p));
  });
  document.addEventListener("htmx:afterSwap", (ev) => {
    const el = kept && document.getElementById(kept.id);
    if (el) {
      el.querySelectorAll(".tw,.log,.h-scroll").forEach((s, i) => { if (kept.scrolls[i]) [s.scrollLeft, s.scrollTop] = kept.scrolls[i]; });
      kept.open.forEach(({ place, open }) => { const t = found(place, el); if (t) t.parentElement.open = open; });
      el.querySelectorAll("[data-twin]").forEach((t, i) => { const b = kept.twins[i] && t.querySelector(`[data-view="${kept.twins[i]}"]`); if (b) show(b); });
      const head = document.getElementById("page-head");
      const target = kept.focus ? found(kept.focus, el) : kept.head && document.activeElement === document.body && found(kept.head, head);
      if (target) target.focus({ preventScroll: true });
      kept = null;
      prepare(el);
    } else prepare(ev.detail.elt);
  });
})();
