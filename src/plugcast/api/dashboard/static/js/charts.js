// What both charts share: colours from the style sheet, local time, the line of now and the shade of what is to come.
/* global uPlot */
import { local, site } from "./format.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Index of the slot that holds an instant; -1 before the first.
export function slotOf(starts, at) {
  let index = -1;
  while (index + 1 < starts.length && starts[index + 1] <= at) index += 1;
  return index;
}

const zoned = (at) => uPlot.tzDate(new Date(at * 1000), site.timeZone);

const HOUR_S = 3600;

export function timeAxis() {
  return {
    stroke: colour("muted"), font: "11px system-ui, sans-serif", size: 34, gap: 4,
    grid: { show: false }, ticks: { stroke: colour("line-strong"), width: 1, size: 4 },
    incrs: [1, 2, 3, 6, 12, 24, 48, 168].map((hours) => hours * HOUR_S),
    space: 46,
    values: (_chart, splits) => splits.map((at, index) => {
      const here = local(at);
      // the first label names its day too, unless the next one does and stands too near
      const first = index === 0 && (splits.length < 2 || local(splits[1]).hour !== "00:00");
      return first || here.hour === "00:00" ? `${here.hour}\n${here.day}` : here.hour;
    }),
  };
}

export function valueAxis(scale, label, extra = {}) {
  return {
    scale, label, labelFont: "11px system-ui, sans-serif", labelSize: 16, labelGap: 0,
    stroke: colour("muted"), font: "11px system-ui, sans-serif", size: 40, gap: 4,
    grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, ...extra,
  };
}

// Shades the future and draws the line of now; at() gives the replay's present.
function nowPlugin(at) {
  const place = (chart) => Math.round(chart.valToPos(at(), "x", true));
  return {
    hooks: {
      drawClear: (chart) => {
        const { left, top, width, height } = chart.bbox;
        const from = Math.min(Math.max(place(chart), left), left + width);
        chart.ctx.fillStyle = colour("future") || "transparent";
        chart.ctx.fillRect(from, top, left + width - from, height);
      },
      draw: (chart) => {
        const { left, top, width, height } = chart.bbox;
        const x = place(chart);
        if (x < left || x > left + width) return;
        const { ctx } = chart;
        const pixel = devicePixelRatio;
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = colour("ink");
        ctx.lineWidth = pixel;
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.moveTo(x + 0.5, top - 2 * pixel);
        ctx.lineTo(x + 0.5, top + height);
        ctx.stroke();
        ctx.font = `600 ${11 * pixel}px system-ui, sans-serif`;
        ctx.textAlign = x > left + width - 40 * pixel ? "right" : x < left + 40 * pixel ? "left" : "center";
        ctx.textBaseline = "bottom";
        ctx.fillText("now", x, top - 3 * pixel);
        ctx.restore();
      },
    },
  };
}

// A chart that is made again when its shape or the theme changes, and only gets data otherwise.
export class Chart {
  constructor(plotId, build, onPoint) {
    this.host = document.getElementById(plotId);
    this.build = build;
    this.onPoint = onPoint;
    this.at = 0;
    this.shape = "";
    this.plot = null;
    this.frame = 0;
    this.data = null;
    new ResizeObserver(() => this.resize()).observe(this.host);
    document.documentElement.addEventListener("themechange", () => {
      this.shape = "";
      this.later();
    });
  }

  // shape: what, when changed, needs other series; data: uPlot's columns, or null for an empty chart.
  show(data, at, shape) {
    this.data = data;
    this.at = at;
    this.wanted = shape;
    this.later();
  }

  later() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.data) {
      this.plot?.destroy();
      this.plot = null;
      this.shape = "";
      return;
    }
    if (this.plot && this.shape === this.wanted) {
      this.plot.setData(this.data);
      return;
    }
    this.plot?.destroy();
    this.shape = this.wanted;
    const options = {
      ...this.build(),
      width: this.host.clientWidth, height: this.host.clientHeight, tzDate: zoned, legend: { show: false },
            plugins: [nowPlugin(() => this.at)],
      hooks: { setCursor: [(chart) => this.onPoint(chart.cursor.idx ?? null)] },
    };
    options.cursor = { drag: { x: false, y: false, setScale: false }, points: { show: false }, y: false };
    this.plot = new uPlot(options, this.data, this.host);
  }

  resize() {
    if (this.plot) this.plot.setSize({ width: this.host.clientWidth, height: this.host.clientHeight });
  }
}

// Puts the values of one slot into the chart's key.
export function showKey(listId, texts) {
  for (const item of document.querySelectorAll(`#${listId} [data-key]`)) {
    const value = item.querySelector("b");
    const text = texts[item.dataset.key];
    if (text !== undefined && value.textContent !== text) value.textContent = text;
  }
}

// Fills a chart's table when somebody looks at it.
export function tableWhenOpen(tableId, fillTable) {
  const details = document.getElementById(tableId).closest("details");
  details.addEventListener("toggle", () => { if (details.open) fillTable(); });
  return () => { if (details.open) fillTable(); };
}
