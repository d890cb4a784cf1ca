'use strict';
// A run that is being trained: its page hears of new points by server-sent events.

class LiveUpdates {
  constructor(page) {
    this.page = page;
    this.bar = make('progress', {max: '1', value: '0', 'aria-label': 'Progress of the training'});
    this.words = make('span', {class: 'quiet'}, 'waiting for the first step');
    this.state = make('span', {class: 'badge good'}, 'live');
    this.element = make('div', {class: 'live', role: 'status'}, this.state, this.bar, this.words);
    page.header.append(this.element);
    this.events = new EventSource('events' + location.search);
    this.events.addEventListener('progress', event => this.progress(JSON.parse(event.data)));
    this.events.addEventListener('rows', event => this.rows(JSON.parse(event.data)));
    this.events.addEventListener('end', event => this.end(JSON.parse(event.data)));
    this.events.onopen = () => this.say('live', 'good');
    this.events.onerror = () => this.say('the trainer does not answer', 'warn');
  }

  say(text, kind) {
    this.state.textContent = text;
    this.state.className = 'badge ' + kind;
  }

  progress(p) {
    const done = (p.epoch - 1 + p.step / Math.max(1, p.steps)) / Math.max(1, p.epochs);
    this.page.data.live.steps = p.steps;
    this.bar.value = done;
    this.words.textContent = `epoch ${p.epoch} of ${p.epochs}, step ${p.step} of ${p.steps}, loss ${shown(p.loss)}, accuracy ${percent(p.accuracy)} %, ${count(p.images_per_s)} images/s, ${duration(p.eta)} to go`;
  }

  rows(news) {
    const run = this.page.run;
    for (const part of ['metrics', 'timing', 'steps']) {
      if (news.reset) run[part] = news[part];
      else for (const [name, values] of Object.entries(news[part] || {})) run[part][name] = (run[part][name] || []).concat(values);
    }
    this.page.update();
  }

  /** The training has ended: the page becomes its report. */
  end(last) {
    this.events.close();
    if (!last.run) { this.say('ended: ' + last.error, 'warn'); return; }
    Figure.all.length = 0;
    const main = document.getElementById('main'), header = document.getElementById('header');
    main.replaceChildren();
    new RunPage({...this.page.data, live: null, run: last.run}).show(main, header);
    header.append(make('div', {class: 'live', role: 'status'}, make('span', {class: 'badge good'}, 'training ended'), make('span', {class: 'quiet'}, `this page is ${last.run.folder}/report.html`)));
  }
}
