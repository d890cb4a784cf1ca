'use strict';
// Puts the page together from its data.
{
  const data = JSON.parse(document.getElementById('data').textContent);
  const page = data.kind === 'run' ? new RunPage(data) : new ComparisonPage(data);
  page.show(document.getElementById('main'), document.getElementById('header'));
  document.getElementById('footer').replaceChildren(`Made by tern ${data.tern} at ${data.made}.`);
  if (data.live) new LiveUpdates(page);
}
