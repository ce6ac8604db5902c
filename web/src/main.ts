import './style/index.css';
import { fill, h } from './dom';
import { firstPage, followServer } from './live';
import { Shell } from './shell';
import { openSource } from './source';
import { firstChoices, Store, type State, type ViewName } from './state';
import { keptTheme } from './theme';

const root = document.getElementById('app')!;
const show = (message: string) => fill(root, h('p', { class: 'empty' }, message));

const firstState = (): State => ({
  ...firstChoices,
  view: 'experts',
  theme: keptTheme(),
  playing: false,
  options: {},
});

async function start(): Promise<void> {
  const source = openSource();
  const page = await firstPage(source, () => show('Waiting for the first tokens …'));
  const store = new Store(firstState());
  const shell = new Shell(root, page, source, store);
  if (page.live) shell.refresh(page); // begin at the newest token
  // For tests and for the curious: the page's own state, and its views.
  Object.assign(window, {
    moescope: {
      get page() {
        return shell.now();
      },
      store,
      view: (name: ViewName) => shell.view(name),
    },
  });
  await followServer(source, shell);
}

start().catch((e: unknown) => show('The page cannot be shown: ' + (e instanceof Error ? e.message : String(e))));
