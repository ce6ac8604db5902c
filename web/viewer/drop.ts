// Calls back with files that are dropped anywhere on the window. To be called again when the document was replaced, which takes
// the listeners along.
export function onDrop(dropped: (files: File[]) => void): void {
  let inside = 0; // elements under the pointer: each sends a pair of events
  const moved = (by: number) => {
    inside += by;
    document.documentElement.classList.toggle('dropping', inside > 0);
  };
  addEventListener('dragenter', () => moved(1));
  addEventListener('dragleave', () => moved(-1));
  addEventListener('dragover', (e) => e.preventDefault());
  addEventListener('drop', (e) => {
    e.preventDefault();
    moved(-inside);
    dropped([...(e.dataTransfer?.files ?? [])]);
  });
}
