'use strict';
// Line charts and stacked bars, by Chart.js where the page has it, else as plain SVG.

/** An element: make('td', {class: 'text'}, 'words', other). Text never becomes markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

const svgTag = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const theme = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
const kHues = ['blue', 'orange', 'green', 'purple', 'yellow', 'sky', 'black', 'grey'];
/** The look of the i-th of many series: eight hues, then the same with other dashes. */
const look = i => ({hue: kHues[i % kHues.length], dash: [[], [6, 3], [2, 3]][Math.floor(i / kHues.length) % 3]});

const kMinus = '\u2212', kThin = '\u202f';
function shown(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(Math.max(0, digits - 1)).replace(/\.?0*e\+?/, 'e')
      : size >= 100 ? Math.round(value).toLocaleString('en-GB').replaceAll(',', kThin) : String(Number(value.toPrecision(digits)));
  return text.replace('-', kMinus);
}
const count = value => value === null || value === undefined ? '–' : Math.round(value).toLocaleString('en-GB').replaceAll(',', kThin);
const percent = (value, digits = 1) => value === null || value === undefined ? '–' : (100 * value).toFixed(digits);
const percentTick = value => Number((100 * value).toFixed(3)) + kThin + '%';
const bytes = value => {
  if (!value) return '–';
  const step = value < 1024 ? 0 : value < 1024 ** 2 ? 1 : value < 1024 ** 3 ? 2 : 3;
  return shown(value / 1024 ** step, 3) + kThin + ['B', 'KiB', 'MiB', 'GiB'][step];
};
const duration = seconds => {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 60) return shown(seconds, 3) + kThin + 's';
  const whole = Math.round(seconds), two = n => String(n).padStart(2, '0');
  return whole < 3600 ? `${Math.floor(whole / 60)}:${two(whole % 60)}${kThin}min` : `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${kThin}h`;
};

/** Round numbers from at most `low` to at least `high`. */
function ticks(low, high, about = 5) {
  if (!(high > low)) { const pad = Math.abs(low) * 0.1 || 1; low -= pad; high += pad; }
  const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find(f => f * power >= raw * 0.999);
  const list = [];
  for (let i = Math.floor(low / step + 1e-9); i * step <= high + step * 0.999; ++i) list.push(Number((i * step).toPrecision(12)));
  return list;
}

/**
 * A chart: {title, x: 'epoch', format, min, max, bars, series: () => [{label, points: [[x, y]], hue, dash}]}. A series may be
 * faint (the background to others), marks (dots alone) or plain (a line without dots); one without a label is not in the legend.
 * update() draws again from what `series` gives then.
 */
class Figure {
  constructor(options) {
    this.options = {format: value => shown(value, 4), x: 'epoch', ...options};
    this.legend = make('ul', {class: 'legend'});
    this.plot = make('div', {class: 'plot'});
    this.element = make('figure', {class: 'chart' + (options.tall ? ' tall' : '')}, make('figcaption', {}, make('h3', {}, options.title), this.legend), this.plot);
    Figure.all.push(this);
  }

  update() {
    const series = this.options.series().filter(s => s.points.some(p => p[1] !== null));
    this.element.hidden = series.length === 0;
    if (series.length === 0) return;
    this.legend.replaceChildren(...(series.length > 1 || this.options.legend ? series.filter(s => s.label).map(s => make('li', {}, this.swatch(s), s.label)) : []));
    const words = this.describe(series);
    if (window.Chart) this.drawCanvas(series, words); else this.drawSvg(series, words);
  }

  /** What a person who does not see the curves is told. */
  describe(series) {
    const format = this.options.format;
    return `${this.options.title} by ${this.options.x}: ` + series.map(s => {
      const known = s.points.filter(p => p[1] !== null), first = known[0], last = known[known.length - 1];
      return known.length === 1 ? `${s.label} ${format(first[1])}` : `${s.label} from ${format(first[1])} to ${format(last[1])}`;
    }).join('; ') + '.';
  }

  swatch(s) {
    const svg = svgTag('svg', {viewBox: '0 0 24 8', 'aria-hidden': 'true'});
    if (this.options.bars) svg.append(svgTag('rect', {x: 6, y: 0, width: 12, height: 8, style: `fill: var(--${s.hue})`}));
    else if (s.marks) svg.append(svgTag('circle', {cx: 12, cy: 4, r: 3.5, style: `fill: var(--${s.hue})`}));
    else svg.append(svgTag('line', {x1: 0, x2: 24, y1: 4, y2: 4, 'stroke-width': s.faint ? 1.5 : 2.5, 'stroke-dasharray': (s.dash || []).join(' '), style: `stroke: var(--${s.hue}); opacity: ${s.faint ? 0.5 : 1}`}));
    return svg;
  }

  datasets(series) {
    return series.map(s => {
      const colour = theme(s.hue), few = s.points.length < 40;
      return {
        label: s.label, data: s.points.map(([x, y]) => ({x, y})), borderColor: s.faint ? colour + '66' : colour, backgroundColor: colour,
        borderWidth: this.options.bars ? 0 : s.faint ? 1 : 1.8, borderDash: s.dash || [], showLine: !s.marks, spanGaps: true, tension: 0,
        pointRadius: s.marks ? 4 : s.faint || s.plain || !few ? 0 : 2.2, pointHoverRadius: 4, pointHitRadius: 8, order: s.faint ? 2 : 1, stack: this.options.bars ? 'all' : undefined,
        barPercentage: 0.9, categoryPercentage: 0.9,
      };
    });
  }

  drawCanvas(series, words) {
    const {format, x, bars, min, max} = this.options;
    const grid = {color: theme('line'), drawBorder: false}, tick = {color: theme('quiet'), font: {size: 11}};
    if (this.chart) this.chart.destroy();
    const canvas = make('canvas', {role: 'img', 'aria-label': words});
    this.plot.replaceChildren(canvas);
    const whole = series.flatMap(s => s.points).every(p => Number.isInteger(p[0]));
    const epochs = bars ? [...new Set(series.flatMap(s => s.points.map(p => p[0])))].sort((a, b) => a - b) : null;
    const data = this.datasets(series);
    if (bars) for (const set of data) set.data = epochs.map(e => (set.data.find(p => p.x === e) || {y: null}).y);
    this.chart = new window.Chart(canvas, {
      type: bars ? 'bar' : 'line', data: {labels: epochs || undefined, datasets: data},
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, parsing: bars ? undefined : false, normalized: true,
        interaction: {mode: bars ? 'index' : 'nearest', axis: 'x', intersect: false}, layout: {padding: {top: 4, right: 6}},
        scales: {
          x: bars ? {stacked: true, grid: {display: false}, ticks: {...tick, maxRotation: 0}, title: {display: true, text: x, color: theme('quiet'), font: {size: 11}}}
            : {type: 'linear', grid: {...grid, display: false}, ticks: {...tick, maxTicksLimit: 9, maxRotation: 0, precision: whole ? 0 : undefined, callback: v => shown(v)}, title: {display: true, text: x, color: theme('quiet'), font: {size: 11}}},
          y: {stacked: bars, grid, border: {display: false}, suggestedMin: min, suggestedMax: max, ticks: {...tick, maxTicksLimit: 6, callback: v => format(v)}},
        },
        plugins: {legend: {display: false}, tooltip: {backgroundColor: theme('ink'), titleColor: theme('paper'), bodyColor: theme('paper'), boxPadding: 3, callbacks: {
          title: items => `${x} ${shown(items[0].parsed.x === undefined || bars ? Number(items[0].label) : items[0].parsed.x, 4)}`,
          label: item => `${item.dataset.label}: ${format(item.parsed.y)}`}}},
      },
    });
  }

  drawSvg(series, words) {
    const {format, x: xName, bars, min, max} = this.options;
    const width = 480, height = 216, left = 52, right = 10, top = 8, bottom = 34;
    const known = series.map(s => ({...s, points: s.points.filter(p => p[1] !== null)}));
    const xs = known.flatMap(s => s.points.map(p => p[0])), epochs = [...new Set(xs)].sort((a, b) => a - b);
    const stacks = bars ? epochs.map(e => known.reduce((sum, s) => sum + ((s.points.find(p => p[0] === e) || [0, 0])[1]), 0)) : null;
    const ys = bars ? [0, ...stacks] : known.flatMap(s => s.points.map(p => p[1]));
    const yTicks = ticks(Math.min(...ys, min ?? Infinity), Math.max(...ys, max ?? -Infinity), 4);
    const xLow = Math.min(...xs) - (bars ? 0.5 : 0), xHigh = Math.max(...xs) + (bars ? 0.5 : 0);
    const yLow = yTicks[0], yHigh = yTicks[yTicks.length - 1];
    const px = v => left + (xHigh > xLow ? (v - xLow) / (xHigh - xLow) : 0.5) * (width - left - right);
    const py = v => height - bottom - (v - yLow) / (yHigh - yLow) * (height - top - bottom);
    const svg = svgTag('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': words});
    for (const t of yTicks) {
      svg.append(svgTag('line', {x1: left, x2: width - right, y1: py(t), y2: py(t), style: 'stroke: var(--line)'}));
      svg.append(svgTag('text', {x: left - 6, y: py(t) + 4, 'text-anchor': 'end'}, format(t)));
    }
    const whole = xs.every(Number.isInteger), inside = ticks(xLow, xHigh, 7).filter(t => t >= xLow && t <= xHigh && (!whole || Number.isInteger(t)));
    for (const t of inside) svg.append(svgTag('text', {x: px(t), y: height - bottom + 15, 'text-anchor': 'middle'}, shown(t)));
    svg.append(svgTag('text', {x: (left + width - right) / 2, y: height - 4, 'text-anchor': 'middle'}, xName));
    const base = new Map();
    for (const s of known) {
      if (bars) {
        const thick = (width - left - right) / (xHigh - xLow) * 0.8;
        for (const [x, y] of s.points) {
          const from = base.get(x) || 0;
          svg.append(svgTag('rect', {x: px(x) - thick / 2, y: py(from + y), width: thick, height: py(from) - py(from + y), style: `fill: var(--${s.hue})`}));
          base.set(x, from + y);
        }
        continue;
      }
      const line = s.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(' ');
      if (!s.marks) svg.append(svgTag('polyline', {points: line, fill: 'none', 'stroke-width': s.faint ? 1 : 2, 'stroke-dasharray': (s.dash || []).join(' '), style: `stroke: var(--${s.hue}); opacity: ${s.faint ? 0.45 : 1}`}));
      if (s.marks || (s.points.length < 40 && !s.faint && !s.plain)) for (const [x, y] of s.points) {
        svg.append(svgTag('circle', {cx: px(x), cy: py(y), r: s.marks ? 4 : 2.6, style: `fill: var(--${s.hue})`}, svgTag('title', {}, `${s.label}, ${xName} ${shown(x)}: ${format(y)}`)));
      }
    }
    this.plot.replaceChildren(svg);
  }
}
Figure.all = [];
const redrawAll = () => Figure.all.forEach(figure => figure.update());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawAll);
