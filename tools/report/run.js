'use strict';
// One run: key figures, curves, confusion matrix, mistakes, timing, network, environment, config.

const section = (title, ...children) => make('section', {}, make('h2', {}, title), ...children);
const withUnit = (value, unit) => [value, make('span', {class: 'unit'}, unit)];
const last = list => list && list.length ? list[list.length - 1] : null;
const best = list => list.reduce((a, b) => b !== null && (a === null || b > a) ? b : a, null);
const zip = (xs, ys) => (xs || []).map((x, i) => [x, ys ? ys[i] : null]);
const median = list => { const known = list.filter(v => v !== null).sort((a, b) => a - b); return known.length ? known[Math.floor(known.length / 2)] : null; };

/** A table: columns are [title, row => cell, {text, wrap}]. */
function table(rows, columns, {caption, rowClass} = {}) {
  const side = options => [options && options.text ? 'text' : '', options && options.wrap ? 'wrap' : ''].join(' ').trim() || null;
  return make('div', {class: 'scroll'}, make('table', {class: 'data', 'aria-label': caption},
    make('thead', {}, make('tr', {}, columns.map(([title, , options]) => make('th', {scope: 'col', class: side(options)}, title)))),
    make('tbody', {}, rows.map((row, i) => make('tr', {class: rowClass ? rowClass(row, i) : null},
      columns.map(([, cell, options], c) => make(c === 0 ? 'th' : 'td', {scope: c === 0 ? 'row' : null, class: side(options)}, cell(row, i))))))));
}

function facts(pairs) {
  return make('dl', {class: 'facts'}, pairs.filter(([, v]) => v !== null && v !== undefined && v !== '').flatMap(([k, v]) => [make('dt', {}, k), make('dd', {}, v)]));
}

function tile(name, value, below) {
  return make('div', {}, make('dt', {}, name), make('dd', {}, value, below ? make('small', {class: 'quiet'}, below) : null));
}

class RunPage {
  constructor(data) {
    this.data = data;
    this.run = data.run;
    this.names = this.run.eval ? this.run.eval.per_class.map(c => c.class) : [];
  }

  show(main, header) {
    this.header = header;
    this.tiles = make('dl', {class: 'tiles'});
    this.epochs = make('details', {});
    this.showHeader();
    main.append(...[this.tiles, this.curves(), this.timing(), this.confusion(), this.mistakes(), this.network(), this.environment()].filter(Boolean));
    this.update();
  }

  /** Draws what may have changed: a live page calls it at new points. */
  update() {
    this.showTiles();
    this.showEpochs();
    redrawAll();
  }

  /** Steps an epoch, where it is known: step numbers then become places on the axis of epochs. */
  stepsPerEpoch() {
    const {epoch, step} = this.run.metrics;
    if (epoch && epoch.length) return last(step) / last(epoch);
    return this.data.live && this.data.live.steps || null;
  }
  stepPlaces() {
    const each = this.stepsPerEpoch();
    return (this.run.steps.step || []).map(s => each ? s / each : s);
  }

  showHeader() {
    const run = this.run, env = run.env || {}, stopped = run.summary && run.summary.stopped_by;
    document.title = run.name + ' · tern';
    this.header.replaceChildren(
      make('h1', {}, run.name, ' ', run.synthetic ? make('span', {class: 'badge warn', title: 'Drawn by a program, no photographs'}, 'synthetic data') : null, ' ',
        stopped ? make('span', {class: 'badge warn'}, 'stopped by ' + stopped) : null),
      make('div', {class: 'meta'}, ...[run.network ? `${run.network.model}, ${count(run.network.parameters)} parameters` : null,
        run.synthetic ? `${run.data} (made by a program)` : run.data, env.device_class, env.threads ? `${env.threads} threads` : null,
        env.git_revision ? `tern ${env.tern} (${env.git_revision})` : null, env.time].filter(Boolean).map(t => make('span', {}, t))));
  }

  showTiles() {
    const {metrics, summary, network} = this.run, evaluation = this.run.eval, done = metrics.epoch ? metrics.epoch.length : 0;
    const accuracies = metrics.test_acc || [], top = best(accuracies), list = [];
    if (evaluation) {
      const [low, high] = evaluation.top1_interval95;
      list.push(tile('Test accuracy', withUnit(percent(evaluation.top1, 2), '%'), `95 % interval ${percent(low)} to ${percent(high)}`));
      list.push(tile('Test loss', shown(evaluation.loss, 4), `${count(evaluation.pictures)} pictures`));
    } else if (done) {
      list.push(tile('Test accuracy', withUnit(percent(last(accuracies), 2), '%')));
    }
    if (top !== null) list.push(tile('Best epoch', withUnit(percent(top, 2), '%'), `epoch ${metrics.epoch[accuracies.indexOf(top)]}`));
    if (done) {
      list.push(tile('Epochs', `${last(metrics.epoch)} of ${this.run.epochs}`, `${count(last(metrics.step))} steps`));
      const total = metrics.seconds.reduce((a, b) => a + b, 0);
      list.push(tile('Time', duration(total), `${duration(total / done)} an epoch`));
      list.push(tile('Training speed', withUnit(count(median(metrics.images_per_s)), 'images/s'), 'median of the epochs'));
      list.push(tile('Peak memory', bytes(Math.max(...metrics.peak_rss)), best(metrics.gpu_mem || []) ? `GPU ${bytes(best(metrics.gpu_mem))}` : summary ? `tensors ${bytes(summary.peak_tensors)}` : null));
    }
    if (network) list.push(tile('Parameters', count(network.parameters), `${network.layers.filter(l => l.parameters).length} layers with weights`));
    this.tiles.replaceChildren(...list);
  }

  curves() {
    const m = this.run.metrics, of = name => zip(this.run.metrics.epoch, this.run.metrics[name]);
    const mib = name => of(name).map(([x, y]) => [x, y === null ? null : y / 1024 ** 2]);
    const step = name => zip(this.stepPlaces(), this.run.steps[name]), x = 'epoch';
    const mean = () => this.run.steps.mean_of > 1 ? ` (mean of ${this.run.steps.mean_of})` : '';
    const figures = [
      new Figure({title: 'Loss', x, legend: true, series: () => [
        {label: 'logged step' + mean(), points: step('loss'), hue: 'blue', faint: true}, {label: 'training', points: of('train_loss'), hue: 'blue'},
        {label: 'validation', points: of('val_loss'), hue: 'green', dash: [2, 3]}, {label: 'test', points: of('test_loss'), hue: 'orange', dash: [6, 3]}]}),
      new Figure({title: 'Accuracy', x, legend: true, format: percentTick, series: () => [
        {label: 'training', points: of('train_acc'), hue: 'blue'}, {label: 'validation', points: of('val_acc'), hue: 'green', dash: [2, 3]},
        {label: 'test', points: of('test_acc'), hue: 'orange', dash: [6, 3]}]}),
      new Figure({title: 'Learning rate', x, min: 0, series: () => [
        {label: 'rate', points: (this.run.steps.step || []).length > (m.epoch || []).length ? step('lr') : of('lr'), hue: 'blue'}]}),
      new Figure({title: 'Training speed, images/s', x, min: 0, series: () => [{label: 'images/s', points: of('images_per_s'), hue: 'blue'}]}),
      new Figure({title: 'Share of time', x, min: 0, format: percentTick, legend: true, series: () => [
        {label: 'waiting for data', points: of('data_wait'), hue: 'orange'}, {label: 'GPU busy', points: of('gpu_util'), hue: 'green', dash: [6, 3]}]}),
      new Figure({title: 'Peak memory, MiB', x, min: 0, legend: true, series: () => [
        {label: 'resident', points: mib('peak_rss'), hue: 'blue'}, {label: 'GPU', points: mib('gpu_mem'), hue: 'green', dash: [6, 3]}]}),
      new Figure({title: 'Gradient norm, before clipping' + mean(), x, min: 0, series: () => [{label: 'norm', points: step('grad_norm'), hue: 'purple'}]}),
    ];
    return section('Curves', make('div', {class: 'charts'}, figures.map(f => f.element)), this.epochs);
  }

  showEpochs() {
    const m = this.run.metrics, rows = (m.epoch || []).map((_, i) => i), top = best(m.test_acc || []);
    this.epochs.hidden = rows.length === 0;
    const cell = (name, text) => i => text(m[name] ? m[name][i] : null);
    const columns = [['epoch', cell('epoch', String)], ['train loss', cell('train_loss', v => shown(v, 4))], ['train acc, %', cell('train_acc', v => percent(v, 2))],
      ['val loss', cell('val_loss', v => shown(v, 4))], ['val acc, %', cell('val_acc', v => percent(v, 2))],
      ['test loss', cell('test_loss', v => shown(v, 4))], ['test acc, %', cell('test_acc', v => percent(v, 2))], ['rate', cell('lr', v => shown(v))],
      ['time', cell('seconds', duration)], ['images/s', cell('images_per_s', count)], ['data wait, %', cell('data_wait', percent)], ['memory', cell('peak_rss', bytes)]]
      .filter(([title]) => !title.startsWith('val ') || best(m.val_acc || []) !== null);
    this.epochs.replaceChildren(make('summary', {}, 'Epochs as a table'), table(rows, columns, {caption: 'Epochs', rowClass: i => m.test_acc[i] === top ? 'best' : null}));
  }

  timing() {
    const phases = [['data', 'grey'], ['forward', 'blue'], ['backward', 'sky'], ['optimizer', 'purple'], ['eval', 'orange']];
    const timing = () => this.run.timing;
    const figure = new Figure({title: 'Seconds an epoch by phase', bars: true, tall: true, legend: true, series: () => phases.map(([name, hue]) => ({label: name, hue, points: zip(timing().epoch, timing()[name])}))});
    const totals = make('div', {});
    this.showTotals = () => {
      const sums = phases.map(([name, hue]) => ({name, hue, seconds: (timing()[name] || []).reduce((a, b) => a + b, 0)}));
      const all = sums.reduce((a, s) => a + s.seconds, 0);
      totals.replaceChildren(table(sums, [['phase', s => s.name, {text: true}], ['total', s => duration(s.seconds)],
        ['an epoch', s => duration(s.seconds / Math.max(1, (timing().epoch || []).length))], ['share, %', s => [percent(all ? s.seconds / all : 0), bar(all ? s.seconds / all : 0, s.hue)]]], {caption: 'Time by phase'}));
    };
    const element = section('Timing', make('div', {class: 'pair'}, figure.element, totals));
    const update = figure.update.bind(figure);
    figure.update = () => { update(); element.hidden = figure.element.hidden; this.showTotals(); };
    return element;
  }

  confusion() {
    const evaluation = this.run.eval;
    if (!evaluation) return null;
    const {panel, choose} = this.picturePanel();
    const matrix = new ConfusionMatrix(evaluation.confusion, this.names, choose);
    const bars = table(evaluation.per_class, [['class', c => c.class, {text: true}], ['pictures', c => count(c.pictures)], ['right', c => count(c.correct)],
      ['recall, %', c => [percent(c.recall), bar(c.recall, 'blue')]], ['precision, %', c => [percent(c.precision), bar(c.precision, 'sky')]]], {caption: 'Accuracy of each class'});
    return section('Classes', make('p', {class: 'quiet'}, `Rows are the true classes, columns what the network says, of ${count(evaluation.pictures)} ${evaluation.split} pictures. A cell shows its pictures.`),
      make('div', {class: 'pair'}, make('div', {}, matrix.element, panel), bars));
  }

  /** Where the pictures of a chosen cell appear. */
  picturePanel() {
    const shownMistakes = typeof this.run.mistakes === 'object' ? this.run.mistakes : null;
    const panel = make('div', {id: 'cell', 'aria-live': 'polite'});
    const choose = (label, predicted, number) => {
      const [is, said] = [this.names[label], this.names[predicted]];
      if (label === predicted) {
        panel.replaceChildren(make('h3', {}, `${is}, recognised: ${count(number)}`), make('p', {class: 'quiet'}, 'Pictures are kept of mistakes only.'));
        return;
      }
      const items = shownMistakes ? shownMistakes.items.filter(i => i[1] === label && i[2] === predicted).sort((a, b) => b[4] - a[4]) : [];
      const some = number === 0 ? '' : !shownMistakes ? this.whyNone() : items.length < number ? `the ${count(items.length)} worst are shown` : '';
      panel.replaceChildren(make('h3', {}, `${is} taken for ${said}: ${count(number)}`), make('p', {class: 'quiet'}, some), this.gallery(items, false));
    };
    return {panel, choose};
  }

  whyNone() { return typeof this.run.mistakes === 'string' ? `No pictures: ${this.run.mistakes}` : 'No pictures.'; }

  gallery(items, full) {
    return make('div', {class: 'pictures'}, items.map(item => {
      const [index, label, predicted, probability, loss] = item;
      const said = predicted < 0 ? 'not a number' : this.names[predicted];
      const picture = make('div', {class: 'picture', role: 'img', 'aria-label': `test picture ${index}: ${this.names[label]}, taken for ${said}`, title: `test picture ${index}`});
      const {width, height, columns, items: all} = this.run.mistakes, place = all.indexOf(item), zoom = Math.max(1, Math.floor(72 / Math.max(width, height)));
      picture.style.cssText = `width: ${width * zoom}px; height: ${height * zoom}px; background-size: ${width * columns * zoom}px auto; background-position: -${place % columns * width * zoom}px -${Math.floor(place / columns) * height * zoom}px`;
      const caption = full ? [make('b', {}, this.names[label]), `taken for ${said}`, make('br'), `${percent(probability, 0)} %, loss ${shown(loss)}`] : [`${percent(probability, 0)} %, ${shown(loss)}`];
      return make('figure', {style: `width: ${Math.max(width * zoom, full ? 84 : 0)}px`}, picture, make('figcaption', {}, caption));
    }));
  }

  mistakes() {
    const mistakes = this.run.mistakes;
    if (!this.run.eval || mistakes === undefined) return null;
    if (mistakes === null) return null;
    if (typeof mistakes === 'string') return section('Worst mistakes', make('p', {class: 'quiet'}, this.whyNone()));
    document.head.append(make('style', {}, `.picture { background-image: url("${mistakes.sheet}"); }`));
    return section('Worst mistakes', make('p', {class: 'quiet'}, 'By loss: where the network was surest of a wrong class. The share is what it gave to that class.'),
      this.gallery(mistakes.items.slice(0, mistakes.worst), true));
  }

  network() {
    const network = this.run.network;
    if (!network) return null;
    const extents = list => list.join(' × '), shapes = layer => Object.entries(layer.shapes).sort().reverse().map(([name, shape]) => `${name} ${shape.slice(1, -1).replaceAll(', ', ' × ')}`).join(', ');
    const name = layer => { const text = make('span', {}, layer.name); text.style.paddingLeft = `${layer.depth}em`; return text; };
    const share = layer => layer.parameters / network.parameters, some = (value, text) => value ? text(value) : '–';
    return section('Network', make('p', {class: 'quiet'}, `${network.model} for ${extents(network.input)} pictures and ${network.classes} classes: ${count(network.parameters)} parameters, ` +
        `${(network.flops / 1e6).toFixed(1)} MFLOP a picture forward, a multiply-add counted as two, in convolutions and linear layers. Layers of a branch are indented.`),
      table(network.layers, [['layer', name, {text: true}], ['type', l => l.type + (l.fused ? ' (fused)' : ''), {text: true}], ['output', l => extents(l.output)], ['tensors', shapes, {text: true, wrap: true}],
        ['parameters', l => some(l.parameters, count)], ['share, %', l => some(l.parameters, () => [percent(share(l)), bar(share(l), 'blue')])], ['MFLOP', l => some(l.flops, f => (f / 1e6).toFixed(3))]], {caption: 'Layers'}));
  }

  environment() {
    const env = this.run.env;
    const list = env ? Object.entries(env).map(([name, value]) => [name.replaceAll('_', ' '), Array.isArray(value) ? value.join(' ') : String(value)]) : [];
    return make('section', {}, make('div', {class: 'pair'}, make('div', {}, make('h2', {}, 'Environment'), facts([...list, ['run folder', this.run.folder]])),
      make('div', {}, make('h2', {}, 'Config'), make('pre', {tabindex: '0', 'aria-label': 'config.json'}, this.run.config))));
  }
}

function bar(share, hue) {
  const inner = make('i', {});
  inner.style.cssText = `width: ${(100 * share).toFixed(1)}%; background: var(--${hue})`;
  return make('span', {class: 'bar', 'aria-hidden': 'true'}, inner);
}

/** A grid of counts; arrow keys move, Enter, Space or a click chooses. */
class ConfusionMatrix {
  constructor(matrix, names, choose) {
    Object.assign(this, {matrix, names, choose, cells: []});
    const many = names.length > 30, sums = matrix.map(row => row.reduce((a, b) => a + b, 0));
    const worst = Math.max(1e-9, ...matrix.map((row, r) => Math.max(0, ...row.map((n, c) => r === c || !sums[r] ? 0 : n / sums[r]))));
    const cell = (r, c) => {
      const n = matrix[r][c], share = sums[r] ? n / sums[r] : 0, strength = r === c ? share : share / worst;
      const td = make('td', {role: 'gridcell', tabindex: r + c === 0 ? '0' : '-1', 'aria-selected': 'false', class: n === 0 ? 'none' : strength > 0.62 ? 'strong' : null,
        'aria-label': r === c ? `${names[r]}, recognised: ${n} of ${sums[r]}` : `${names[r]} taken for ${names[c]}: ${n} of ${sums[r]}`,
        title: `${names[r]} → ${names[c]}: ${count(n)}, ${percent(share)} %`}, many ? null : n === 0 ? '·' : count(n));
      if (n) td.style.backgroundColor = `rgba(var(--${r === c ? 'right' : 'wrong'}), ${(0.06 + 0.9 * strength).toFixed(3)})`;
      td.addEventListener('click', () => this.select(r, c));
      td.addEventListener('keydown', event => this.key(event, r, c));
      return td;
    };
    const body = matrix.map((row, r) => {
      this.cells.push(row.map((_, c) => cell(r, c)));
      return make('tr', {role: 'row'}, make('th', {scope: 'row', role: 'rowheader', title: names[r]}, names[r]), this.cells[r]);
    });
    const scale = (name, to) => { const i = make('i'); i.style.background = `linear-gradient(to right, rgba(var(--${name}), .06), rgba(var(--${name}), .96))`; return make('span', {class: 'scale'}, '0', i, to); };
    this.element = make('div', {}, make('div', {class: 'scroll'}, make('table', {class: 'confusion' + (many ? ' many' : ''), role: 'grid', 'aria-label': 'Confusion matrix: rows are true classes, columns predictions'},
      make('thead', {}, make('tr', {role: 'row'}, make('td', {style: 'background: none; cursor: auto'}), names.map(n => make('th', {scope: 'col', role: 'columnheader'}, make('span', {}, n))))), make('tbody', {}, body))),
      scale('right', '100 % of the row recognised'), scale('wrong', `${percent(worst)} % of the row confused`));
  }

  select(r, c) {
    for (const td of this.cells.flat()) { td.setAttribute('aria-selected', 'false'); td.tabIndex = -1; }
    const td = this.cells[r][c];
    td.setAttribute('aria-selected', 'true');
    td.tabIndex = 0;
    this.choose(r, c, this.matrix[r][c]);
  }

  key(event, r, c) {
    const n = this.names.length, moves = {ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], Home: [r, 0], End: [r, n - 1]};
    if (event.key === 'Enter' || event.key === ' ') this.select(r, c);
    else if (moves[event.key]) {
      const [row, column] = moves[event.key].map(v => Math.min(n - 1, Math.max(0, v)));
      this.cells[r][c].tabIndex = -1;
      this.cells[row][column].tabIndex = 0;
      this.cells[row][column].focus();
    } else return;
    event.preventDefault();
  }
}
