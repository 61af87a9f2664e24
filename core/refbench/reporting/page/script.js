"use strict";
const say = (text) => { document.getElementById("said").textContent = text; };

// Theme: as the system says until the reader chooses.
const theme = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(isDark())); };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
nameTheme();

// Tables: sort by a column; rows without a value stay last.
for (const head of document.querySelectorAll("thead th")) {
  head.tabIndex = 0;
  const sort = () => {
    const table = head.closest("table"), body = table.tBodies[0], index = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[index], value = cell.dataset.value;
      return value !== undefined ? Number(value) : cell.classList.contains("number") ? null : cell.textContent.trim();
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (typeof a === "number" ? a - b : a.localeCompare(b)) * (down ? -1 : 1);
    });
    body.append(...rows.map(([, row]) => row));
    say(`Sorted by ${head.textContent}, ${down ? "falling" : "rising"}`);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try { await navigator.clipboard.writeText(code.textContent); say("Copied"); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(code); say("Selected; copy it with the keyboard"); }
  });
}

// Surfaces: a swipe between two of a scene, and profiles along a line.
const NO_HEIGHT = -32768;
async function heights(surface) {
  if (surface.heights) return surface.heights;
  const [rows, cols, data] = surface.grid.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const values = new Int16Array(await new Response(stream).arrayBuffer());
  surface.heights = { rows: Number(rows), cols: Number(cols), values };
  return surface.heights;
}

const SVG = "http://www.w3.org/2000/svg";
function add(parent, tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function viewer(root, scene) {
  const find = (selector) => root.querySelector(selector);
  const left = find(".left"), right = find(".right"), kind = find(".kind"), stage = find(".stage"), swipe = find(".swipe input");
  const ends = [...root.querySelectorAll(".ends input")], line = find(".line line"), chart = find(".chart"), keys = find(".keys");
  const last = scene.surfaces.length - 1, reference = scene.surfaces.findIndex((s) => s.name === "reference");
  left.value = "0";
  right.value = String(reference > 1 ? 1 : last);

  function show() {
    const chosen = [scene.surfaces[left.value], scene.surfaces[right.value]];
    [find(".over"), find(".under")].forEach((image, side) => {
      const surface = chosen[side], isError = kind.value === "error" && surface.error;
      image.src = isError ? surface.error : surface.shade;
      image.alt = `${isError ? "Error map" : "Hillshade"} of ${surface.name} on ${scene.name}, ${surface.caption}`;
    });
    find(".tagleft").textContent = chosen[0].name;
    find(".tagright").textContent = chosen[1].name;
    const legend = find(".legend");
    if (legend) legend.hidden = kind.value !== "error";
    profile();
  }

  async function profile() {
    const [x0, y0, x1, y1] = ends.map((input) => Number(input.value));
    for (const [name, value] of Object.entries({ x1: x0, y1: y0, x2: x1, y2: y1 })) line.setAttribute(name, value);
    const picks = new Map();
    const start = scene.surfaces.findIndex((s) => s.name === "initial DSM");
    if (start >= 0) picks.set(start, "start");
    picks.set(Number(left.value), "one");
    picks.set(Number(right.value), "two");
    if (reference >= 0) picks.set(reference, "reference");
    const count = 240, curves = [];
    for (const [index, role] of picks) {
      const surface = scene.surfaces[index], grid = await heights(surface);
      const values = Array.from({ length: count }, (_, step) => {
        const share = step / (count - 1);
        const col = Math.min(grid.cols - 1, Math.floor((x0 + (x1 - x0) * share) / 100 * grid.cols));
        const row = Math.min(grid.rows - 1, Math.floor((y0 + (y1 - y0) * share) / 100 * grid.rows));
        const value = grid.values[row * grid.cols + col];
        return value === NO_HEIGHT ? null : scene.base + value / 100;
      });
      curves.push({ name: surface.name, role, values });
    }
    const [east, north] = [0, 1].map((axis) => (x1 - x0) / 100 * scene.across[axis] + (y1 - y0) / 100 * scene.down[axis]);
    draw(curves, Math.hypot(east, north), (Math.round(Math.atan2(east, north) * 180 / Math.PI) + 360) % 360);
  }

  function draw(curves, length, bearing) {
    const known = curves.flatMap((curve) => curve.values.filter((v) => v !== null));
    chart.replaceChildren();
    keys.replaceChildren();
    if (!known.length) { add(chart, "text", { x: 320, y: 120, "text-anchor": "middle" }, "No heights along this line"); return; }
    const low = Math.floor(Math.min(...known)), high = Math.max(low + 1, Math.ceil(Math.max(...known)));
    const x = (share) => 52 + share * 576, y = (value) => 206 - (value - low) / (high - low) * 192;
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((s) => (high - low) / s <= 6) || 1000;
    for (let mark = Math.ceil(low / step) * step; mark <= high; mark += step) {
      add(chart, "line", { class: "grid", x1: 52, x2: 628, y1: y(mark), y2: y(mark) });
      add(chart, "text", { class: "tick", x: 46, y: y(mark) + 4, "text-anchor": "end" }, mark);
    }
    for (const share of [0, 0.5, 1]) add(chart, "text", { class: "tick", x: x(share), y: 224, "text-anchor": share === 1 ? "end" : "middle" }, `${(share * length).toFixed(0)} m${share === 1 ? `, bearing ${bearing}°` : ""}`);
    for (const curve of curves) {
      let run = [];
      const flush = () => { if (run.length > 1) add(chart, "polyline", { class: curve.role, points: run.join(" ") }); run = []; };
      curve.values.forEach((value, step) => { if (value === null) flush(); else run.push(`${x(step / (curve.values.length - 1)).toFixed(1)},${y(value).toFixed(1)}`); });
      flush();
      const key = document.createElement("span");
      key.className = curve.role;
      key.textContent = curve.name;
      keys.append(key);
    }
    chart.setAttribute("aria-label", `Heights along a line of ${length.toFixed(0)} m, bearing ${bearing}° from grid north: ${curves.map((c) => c.name).join(", ")}; ${low} to ${high} m`);
  }

  for (const control of [left, right, kind]) control.addEventListener("change", show);
  for (const input of ends) input.addEventListener("input", profile);
  swipe.addEventListener("input", () => stage.style.setProperty("--cut", `${swipe.value}%`));
  let from = null;
  const place = (event) => {
    const box = stage.getBoundingClientRect(), clamp = (v) => Math.round(Math.min(100, Math.max(0, v)));
    return [clamp((event.clientX - box.left) / box.width * 100), clamp((event.clientY - box.top) / box.height * 100)];
  };
  const setLine = (to) => { [...from, ...to].forEach((value, index) => { ends[index].value = value; }); profile(); };
  stage.addEventListener("pointerdown", (event) => { from = place(event); stage.setPointerCapture(event.pointerId); });
  stage.addEventListener("pointermove", (event) => { if (from) setLine(place(event)); });
  stage.addEventListener("pointerup", (event) => { const to = place(event); if (Math.hypot(to[0] - from[0], to[1] - from[1]) > 1) setLine(to); from = null; });
  stage.addEventListener("pointercancel", () => { from = null; });
  show();
}

const scenes = JSON.parse(document.getElementById("scenes").textContent);
for (const root of document.querySelectorAll(".scene")) viewer(root, scenes[root.dataset.scene]);
