'use strict';
// Several runs: curves over each other, a table, McNemar's tests, what their configs differ in, experiments.

/** {key: value as text} of a config, nested keys joined by dots. */
function flatten(value, path = '', out = {}) {
  if (value !== null && typeof value === 'object' && Object.keys(value).length) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${key}` : key, out);
  } else out[path] = JSON.stringify(value);
  return out;
}

class ComparisonPage {
  constructor(data) {
    this.data = data;
    this.runs = data.runs;
  }

  show(main, header) {
    const {runs, experiments} = this.data, name = experiments.length === 1 ? experiments[0].name : `${runs.length} runs`;
    document.title = `${name} · tern`;
    const synthetic = runs.filter(r => r.synthetic).length;
    header.replaceChildren(make('h1', {}, name, ' ', synthetic ? make('span', {class: 'badge warn'}, synthetic === runs.length ? 'synthetic data' : 'some on synthetic data') : null),
      make('div', {class: 'meta'}, [...new Set(runs.map(r => r.data))].map(d => make('span', {}, d))));
    main.append(...[...experiments.map(e => this.experiment(e)), this.table(), this.networks(), this.curves(), this.tests(), this.differences()].filter(Boolean));
    redrawAll();
  }

  /** The run's name with the look of its curves. */
  named(i) {
    const {hue, dash} = look(i), svg = svgTag('svg', {viewBox: '0 0 24 8', width: 24, height: 8, 'aria-hidden': 'true'});
    svg.append(svgTag('line', {x1: 0, x2: 24, y1: 4, y2: 4, 'stroke-width': 3, 'stroke-dasharray': dash.join(' '), style: `stroke: var(--${hue})`}));
    return [svg, ' ', this.runs[i].name];
  }

  table() {
    const {target} = this.data, top = Math.max(...this.runs.map(r => r.row.accuracy ?? -1));
    const cell = (name, text) => r => text(r.row[name]);
    return section('Runs', table(this.runs, [['run', (r, i) => this.named(i), {text: true}], ['data', r => r.data, {text: true}],
      ['accuracy, %', cell('accuracy', v => percent(v, 2))], ['95 % interval', r => r.row.interval ? `${percent(r.row.interval[0], 2)} to ${percent(r.row.interval[1], 2)}` : '–'],
      ['best epoch, %', cell('best', v => percent(v, 2))], ['epochs', cell('epochs', count)], ['time', cell('seconds', duration)], ['time an epoch', cell('seconds_per_epoch', duration)],
      [target === null ? 'to target' : `time to ${percent(target, 0)} %`, cell('to_target', v => v === null ? 'not reached' : duration(v))], ['parameters', cell('parameters', count)], ['peak memory', cell('peak_memory', bytes)]],
    {caption: 'Runs', rowClass: r => r.row.accuracy === top ? 'best' : null}));
  }

  /** What the runs are made of: a line a fact, the first run beside the last. */
  networks() {
    const {runs} = this, end = runs.length - 1, several = end > 0;
    const known = this.data.facts.filter(([key]) => runs.some(r => r.facts[key] !== null));
    const cell = i => ([key]) => key === 'saved' ? percent(runs[i].facts[key]) : count(runs[i].facts[key]);
    const ratio = ([key]) => {
      const [a, b] = [runs[0].facts[key], runs[end].facts[key]];
      if (key === 'saved' || a === null || !b) return '–';
      return `× ${shown(a / b, 4)} (${a < b ? '−' : '+'}${Math.abs(100 * (a / b - 1)).toFixed(1)} %)`;
    };
    return section('What they are made of', make('p', {class: 'quiet'}, 'From the runs’ configs. The head is what stands behind a global average pooling.'),
      table(known, [['', ([, title]) => title, {text: true}], ...runs.map((r, i) => [r.name, cell(i)]), ...(several ? [['first against last', ratio]] : [])], {caption: 'What the runs are made of'}));
  }

  curves() {
    const over = (title, column, options = {}) => new Figure({title, ...options, tall: true, series: () => this.runs.map((run, i) => ({label: run.name, points: zip(run.metrics.epoch, run.metrics[column]), ...look(i)}))});
    const clock = run => { let sum = 0; return (run.metrics.seconds || []).map(s => (sum += s ?? 0)); };
    const figures = [over('Test accuracy', 'test_acc', {format: percentTick}),
      new Figure({title: 'Test accuracy over time', x: 'seconds', tall: true, format: percentTick, series: () => this.runs.map((run, i) => ({label: run.name, points: zip(clock(run), run.metrics.test_acc), ...look(i)}))}),
      over('Test loss', 'test_loss'), over('Training loss', 'train_loss'), over('Learning rate', 'lr', {min: 0}), over('Training speed, images/s', 'images_per_s', {min: 0})];
    return section('Curves', make('div', {class: 'charts'}, figures.map(f => f.element)));
  }

  tests() {
    const {pairs} = this.data;
    if (!pairs.length) return null;
    const p = v => v < 1e-4 ? shown(v, 2) : v.toFixed(4);
    return section('McNemar’s test', make('p', {class: 'quiet'}, 'Whether two networks err equally often on the same test pictures. Under 0.05 they are said to differ; with many pairs some will by chance.'),
      table(pairs, [['first', t => this.named(t.first), {text: true}], ['second', t => this.named(t.second), {text: true}],
        ['right by the first alone', t => count(t.only_first)], ['right by the second alone', t => count(t.only_second)],
        ['p', t => t.why_not ? t.why_not : p(t.p_value)], ['', t => t.why_not ? '' : t.p_value < 0.05 ? 'they differ' : 'no difference shown', {text: true}]], {caption: 'McNemar’s test'}));
  }

  differences() {
    const configs = this.runs.map(r => flatten(JSON.parse(r.config))), keys = [...new Set(configs.flatMap(c => Object.keys(c)))];
    const different = keys.filter(k => new Set(configs.map(c => c[k])).size > 1);
    if (this.runs.length < 2) return null;
    if (!different.length) return section('Config', make('p', {class: 'quiet'}, 'All runs have the same config.'));
    return section('What the configs differ in', table(this.runs.map((r, i) => i), [['run', i => this.named(i), {text: true}], ...different.map(k => [k, i => configs[i][k] ?? '–'])], {caption: 'Config values that differ'}));
  }

  experiment(e) {
    const done = e.rows.filter(r => r.accuracy !== null), failed = e.rows.filter(r => r.error), figures = [], lines = [];
    const ends = done.length ? [Math.min(...done.map(r => r[e.over === 'epochs' ? 'epochs' : 'seed'])), Math.max(...done.map(r => r[e.over === 'epochs' ? 'epochs' : 'seed']))] : [];
    if (e.over === 'epochs') {
      figures.push(new Figure({title: 'Time', x: 'epochs', min: 0, tall: true, legend: true, format: duration, series: () => [
        {label: 'training', hue: 'blue', marks: true, points: done.map(r => [r.epochs, r.seconds])},
        ...(e.fit ? [{label: `${shown(e.fit.intercept)} s + ${shown(e.fit.slope)} s an epoch, R² ${e.fit.r2.toFixed(4)}`, hue: 'grey', dash: [6, 3], plain: true, points: ends.map(x => [x, e.fit.intercept + e.fit.slope * x])}] : [])]}));
      figures.push(new Figure({title: 'Test accuracy', x: 'epochs', tall: true, legend: true, format: percentTick, series: () => [
        {label: 'after the last epoch', hue: 'blue', points: done.map(r => [r.epochs, r.accuracy])},
        ...(e.best ? [{label: `best: ${percent(e.best.accuracy, 2)} % after ${e.best.epochs}`, hue: 'orange', marks: true, points: [[e.best.epochs, e.best.accuracy]]}] : [])]}));
    } else if (e.statistics) {
      const s = e.statistics, level = (label, y, dash) => ({label, hue: 'grey', dash, plain: true, points: [[ends[0], y], [ends[1], y]]});
      lines.push(`${s.count} seeds: mean ${percent(s.mean, 2)} %, deviation ${percent(s.deviation, 2)}, 95 % interval of the mean ${percent(s.low, 2)} to ${percent(s.high, 2)} %.`);
      figures.push(new Figure({title: 'Test accuracy', x: 'seed', tall: true, legend: true, format: percentTick, series: () => [
        {label: 'a training', hue: 'blue', marks: true, points: done.map(r => [r.seed, r.accuracy])}, level('mean', s.mean, []), ...(s.count > 1 ? [level('95 % interval of the mean', s.low, [4, 4]), level('', s.high, [4, 4])] : [])]}));
    }
    for (const r of failed) lines.push(`${r.epochs} epochs, seed ${r.seed} failed: ${r.error}`);
    return section(e.over === 'epochs' ? `${e.name}: over numbers of epochs` : `${e.name}: over seeds`, lines.map(l => make('p', {}, l)), make('div', {class: 'charts'}, figures.map(f => f.element)));
  }
}
