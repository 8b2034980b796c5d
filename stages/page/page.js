// Draws the charts in CHARTS (Vega-Lite, by the id of their place) when they come into view, and sorts the tables.
const drawn = new Set();

// the page's colours, light or dark, for what is not data
function config() {
  const style = getComputedStyle(document.documentElement);
  const [text, faint, line] = ["--text", "--faint", "--line"].map((name) => style.getPropertyValue(name).trim());
  return {
    text,
    config: {
      background: null,
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: { labelColor: text, titleColor: faint, titleFontWeight: "normal", gridColor: line, domainColor: line, tickColor: line },
      legend: { labelColor: text, titleColor: faint, titleFontWeight: "normal" },
    },
  };
}

// a chart with the page's colour in place of its mark, {"page":"text"}: an object, which no text in the data
// can be taken for, since JSON escapes the quotes inside texts
function coloured(chart, text) {
  return JSON.parse(JSON.stringify(chart).replaceAll('{"page":"text"}', () => JSON.stringify(text)));
}

// a chart with a step for each class (pixels) with one that fits the place, and with names where there is room for them
function fitted(spec, room) {
  if (!spec.width?.step) return spec;
  const classes = spec.encoding.x.scale.domain.length;
  const names = Math.min(spec.encoding.x.axis.labelLimit, 0.3 * room);
  let step = Math.min(spec.width.step, (room - names - 40) / classes);
  const named = step >= 7;
  if (!named) step = Math.min(7, (room - 40) / classes);
  const change = (axis) => ({ ...axis, axis: { ...axis.axis, labels: named, labelLimit: names, labelFontSize: Math.min(axis.axis.labelFontSize, step + 1) } });
  const { x, y, ...others } = spec.encoding;
  return { ...spec, width: { step }, height: { step }, encoding: { ...others, x: change(x), y: change(y) } };
}

async function draw(place) {
  const { text, config: colours } = config();
  const spec = fitted(coloured(CHARTS[place.id], text), place.clientWidth);
  try {
    await vegaEmbed(place, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", ...spec }, {
      config: colours,
      actions: false,
      ast: true,
      renderer: "canvas",
    });
    drawn.add(place.id);
    place.dataset.drawn = "yes";
  } catch (error) {
    place.textContent = `This chart could not be drawn: ${error.message}`;
    console.error(place.id, error);
  }
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    }
  },
  { rootMargin: "600px" },
);
for (const place of document.querySelectorAll(".chart")) watcher.observe(place);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const id of drawn) draw(document.getElementById(id));
});

// charts with a step for each class do not follow the page's width by themselves
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  for (const id of drawn) if (CHARTS[id].width?.step) draw(document.getElementById(id));
});

// a link to a model opens it; #all opens and draws every one, as for printing
function open() {
  if (location.hash === "#all") {
    watcher.disconnect();
    for (const model of document.querySelectorAll(".model")) model.open = true;
    for (const place of document.querySelectorAll(".chart:not([data-drawn])")) draw(place);
  }
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", open);
open();

// where tables have no room, each value stands below its heading
for (const table of document.querySelectorAll(".cards")) {
  const headings = [...table.tHead.rows[0].cells].map((heading) => heading.textContent);
  for (const row of table.tBodies[0].rows) {
    for (const cell of row.cells) cell.dataset.label = headings[cell.cellIndex];
  }
}

// a click on a heading sorts by its column, another one the other way round; numbers from the greatest
for (const heading of document.querySelectorAll(".sortable thead th")) {
  heading.addEventListener("click", () => {
    const table = heading.closest("table");
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const way = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", way);
    const value = (row) => {
      const cell = row.cells[heading.cellIndex];
      return numeric ? Number(cell.dataset.value) : cell.textContent;
    };
    const sign = way === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
    table.tBodies[0].append(...rows);
  });
}
